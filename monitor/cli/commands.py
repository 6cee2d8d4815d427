"""What the commands have in common: their parser, their exit codes, and how they end."""

import argparse
import functools
import logging
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pylon.monitor.cli.options import ServerChoice, add_monitor_option
from pylon.monitor.cli.signals import Signals
from pylon.monitor.errors import MonitorSettingError

NONE_FREE = 3
EXIT_CODES = f"""exit codes:
  0    shown, or found
  1    once: not every server answered within the time limit; what is known is shown
  2    the command line or the fleet file is wrong
  {NONE_FREE}    free: no server has so many free GPUs; what is not known does not count as free
  130  Ctrl-C
  143  SIGTERM (129: SIGHUP)
"""

Number = TypeVar("Number", int, float)
Command = Callable[[argparse.Namespace, ServerChoice, Signals], int]
if TYPE_CHECKING:
    # argparse has no public name for what `add_subparsers` returns.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def added_parser(
    subparsers: "Subparsers",
    name: str,
    command: Command,
    summary: str,
    example: str,
    *,
    exit_codes: str = EXIT_CODES,
) -> argparse.ArgumentParser:
    """A parser for one command, whose default `run` takes the parsed options and returns the exit code."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}\n\n{exit_codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=functools.partial(_run, command))
    return parser


def add_view_options(parser: argparse.ArgumentParser) -> None:
    """The options of commands that show servers."""
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument("--no-gpu", action="store_true", help="open no GPU driver")
    parser.add_argument(
        "--all-commands", action="store_true", help="command lines of other users' GPU processes too (--json)"
    )
    add_monitor_option(parser)


def above_zero(text: str) -> float:
    """A number above 0, for argparse."""
    return _number(text, float, lambda value: math.isfinite(value) and value > 0, "a number above 0")


def from_zero(text: str) -> float:
    """A number from 0 on, for argparse."""
    return _number(text, float, lambda value: math.isfinite(value) and value >= 0, "a number from 0 on")


def at_least_one(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    return _number(text, int, lambda value: value >= 1, "a whole number from 1 on")


def whole_from_zero(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    return _number(text, int, lambda value: value >= 0, "a whole number from 0 on")


def _number(
    text: str, read: Callable[[str], Number], valid: Callable[[Number], bool], expected: str
) -> Number:
    try:
        value = read(text)
    except ValueError:
        value = None
    if value is None or not valid(value):
        raise argparse.ArgumentTypeError(f"{text!r}, expected {expected}")
    return value


def _run(command: Command, options: argparse.Namespace) -> int:
    # Trouble is part of what is shown; a log in between would tear the picture.
    logging.basicConfig(level=logging.CRITICAL, format="%(message)s")
    with Signals() as signals:
        try:
            return command(options, ServerChoice(options), signals)
        except MonitorSettingError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        except BrokenPipeError:
            # The reader of the output is gone (as with `| head`): nothing is left to flush.
            sys.stdout = None
            return 0
