"""The monitors on the command line: `pylon once|watch|free`, on this machine or on a fleet.

once    show all servers once
watch   show them again and again: on a terminal in place, elsewhere line by line
free    name the servers and GPUs that a job can take now
"""

import argparse
import functools
import logging
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from pylon.monitor.cli.free import NONE_FREE, free
from pylon.monitor.cli.once import once
from pylon.monitor.cli.options import ServerChoice, add_monitor_option, add_server_options
from pylon.monitor.cli.signals import Signals
from pylon.monitor.cli.watch import watch
from pylon.monitor.errors import MonitorSettingError

_EXIT_CODES = f"""exit codes:
  0    shown, or found
  1    once: not every server answered within the time limit; what is known is shown
  2    the command line or the fleet file is wrong
  {NONE_FREE}    free: no server has so many free GPUs; what is not known does not count as free
  130  Ctrl-C
  143  SIGTERM (129: SIGHUP)
"""
_EXAMPLES = {
    "once": "example:\n  pylon once --server gpu1 --server alice@gpu2 --json\n",
    "watch": "example:\n  pylon watch --servers-file fleet.toml --interval-s 5\n",
    "free": "example:\n  pylon free --servers-file fleet.toml --gpus 2 --memory-gb 24\n",
}

Command = Callable[[argparse.Namespace, ServerChoice, Signals], int]
if TYPE_CHECKING:
    # argparse has no public name for what `add_subparsers` returns.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def main(arguments: list[str] | None = None) -> int:
    """The command line of `python -m monitor`; returns the exit code."""
    options = _parser().parse_args(arguments)
    code: int = options.run(options)
    return code


def add_once(subparsers: "Subparsers") -> None:
    """Add the parser of `once`."""
    parser = _added(subparsers, "once", once, "show the servers once")
    parser.add_argument(
        "--timeout-s", type=_above_0, metavar="S", help="wait so long at most (10; 30 for others)"
    )
    _add_view_options(parser)
    add_server_options(parser)


def add_watch(subparsers: "Subparsers") -> None:
    """Add the parser of `watch`."""
    parser = _added(subparsers, "watch", watch, "show the servers again and again")
    parser.add_argument("--interval-s", type=_above_0, metavar="S", help="between two pictures (2)")
    parser.add_argument("--count", type=int, metavar="N", help="end after so many")
    _add_view_options(parser)
    add_server_options(parser)


def add_free(subparsers: "Subparsers") -> None:
    """Add the parser of `free`."""
    parser = _added(subparsers, "free", free, "name the GPUs that a job can take now")
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="how many on one server (1)")
    parser.add_argument("--memory-gb", type=float, default=0.0, metavar="G", help="free on each, in GiB (0)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--cuda", action="store_true", help="the best server and its CUDA_VISIBLE_DEVICES")
    form.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument("--timeout-s", type=_above_0, metavar="S", help="wait so long at most (30)")
    add_server_options(parser)


def _added(subparsers: "Subparsers", name: str, command: Command, summary: str) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"{_EXAMPLES[name]}\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=functools.partial(_run, command))
    return parser


def _add_view_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument("--no-gpu", action="store_true", help="open no GPU driver")
    add_monitor_option(parser)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m monitor",
        description=__doc__,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_once, add_watch, add_free):
        add(subparsers)
    return parser


def _above_0(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number above 0")
    return value
