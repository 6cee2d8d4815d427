"""`pylon run`: the command line."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pylon.recorder.cli.address import notify_address
from pylon.recorder.wrapper.command import CommandError
from pylon.recorder.wrapper.recording import Recording, Wishes
from pylon.recorder.wrapper.run import run

if TYPE_CHECKING:
    # argparse has no public name for what `add_subparsers` returns.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_EPILOG = """examples:
  pylon run -- python train.py --epochs 3
  pylon run --record runs/first -- torchrun --nproc-per-node 4 train.py

exit codes: those of the command (128+N in a shell if signal N ended it), and
  2    the command line of pylon is wrong
  126  COMMAND cannot be executed
  127  there is no such COMMAND
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the command."""
    summary = "run any command and record what happens to it"
    parser = subparsers.add_parser(
        "run",
        help=summary,
        usage="pylon run [OPTION ...] -- COMMAND ...",
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--record", type=Path, metavar="DIR", help="where (pylon-records/NAME-TIMESTAMP by default)"
    )
    parser.add_argument("--name", metavar="N", help="the name of the record (the command's by default)")
    parser.add_argument("--quiet", action="store_true", help="do not print where the record is")
    parser.add_argument("--verbose", action="store_true", help="list the processes that the command leaves")
    parser.add_argument(
        "--keep-stderr",
        action="store_true",
        help="keep the last lines of standard error, if it is no file, too",
    )
    parser.add_argument(
        "--notify",
        action="append",
        default=[],
        metavar="URL",
        type=notify_address,
        help="send alerts there too",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="and its arguments")
    parser.set_defaults(run=lambda options: _run(parser, options))


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not words:
        parser.error("no COMMAND is given, as in: pylon run -- python train.py")
    wishes = Wishes(
        options.record,
        options.name,
        options.quiet,
        options.verbose,
        options.keep_stderr,
        tuple(options.notify),
    )
    try:
        run(words, Recording(words, wishes))
    except CommandError as error:
        sys.stderr.write(f"pylon run: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"pylon run: no process can be started: {error}\n")
        return 126
