"""The monitors on the command line: `python -m monitor once|watch|free`, on this machine or on a fleet.

once    show all servers once
watch   show them again and again: on a terminal in place, elsewhere line by line
free    name the servers and GPUs that a job can take now
"""

import argparse
import logging
import math
import sys

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


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    # Trouble is part of what is shown; a log in between would tear the picture.
    logging.basicConfig(level=logging.CRITICAL, format="%(message)s")
    with Signals() as signals:
        try:
            code: int = options.run(options, ServerChoice(options), signals)
        except MonitorSettingError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        except BrokenPipeError:
            # The reader of the output is gone (as with `| head`): nothing is wrong, nothing is to be flushed.
            sys.stdout = None
            return 0
        return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m monitor",
        description=__doc__,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("once", help="show the servers once")
    one.add_argument(
        "--timeout-s", type=_above_0, metavar="S", help="wait so long at most (10; 30 for others)"
    )
    one.set_defaults(run=once)
    more = commands.add_parser("watch", help="show the servers again and again")
    more.add_argument("--interval-s", type=_above_0, metavar="S", help="between two pictures (2)")
    more.add_argument("--count", type=int, metavar="N", help="end after so many")
    more.set_defaults(run=watch)
    some = commands.add_parser("free", help="name the GPUs that a job can take now")
    some.add_argument("--gpus", type=int, default=1, metavar="N", help="how many on one server (1)")
    some.add_argument("--memory-gb", type=float, default=0.0, metavar="G", help="free on each, in GiB (0)")
    form = some.add_mutually_exclusive_group()
    form.add_argument("--cuda", action="store_true", help="the best server and its CUDA_VISIBLE_DEVICES")
    form.add_argument("--json", action="store_true", help="everything, for programs")
    some.add_argument("--timeout-s", type=_above_0, metavar="S", help="wait so long at most (30)")
    some.set_defaults(run=free)
    for command in (one, more):
        command.add_argument("--json", action="store_true", help="everything, for programs")
        command.add_argument("--no-gpu", action="store_true", help="open no GPU driver")
        add_monitor_option(command)
    for command in (one, more, some):
        add_server_options(command)
    return parser


def _above_0(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number above 0")
    return value
