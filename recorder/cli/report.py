"""`report`: what happened to a run, why it ended, and what held it back."""

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pylon.monitor import printable

if TYPE_CHECKING:
    # argparse has no public name for what `add_subparsers` returns.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_CODES = """exit codes:
  0    shown, however the run ended
  1    a record could not be read; what could be is shown
  2    the command line is wrong
  130  Ctrl-C
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the command."""
    summary = "what happened to a run, why it ended, and what held it back; or what differs between runs"
    parser = subparsers.add_parser(
        "report",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. Runs that still go on are shown as they are now.",
        epilog="examples:\n  pylon report logs/mine\n  pylon report logs/mine --html mine.html\n"
        f"  pylon report logs/a logs/b\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="RUN", help="run directory, history.sqlite, or folder of runs"
    )
    parser.add_argument(
        "--launch", type=int, metavar="N", help="of one record: the Nth start of it (the newest)"
    )
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write a page with charts, readable offline"
    )
    parser.add_argument(
        "--png", type=Path, metavar="DIR", help="write pictures of the charts (extra 'report')"
    )
    parser.set_defaults(run=run_report)


def run_report(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from pylon.recorder.history import HistoryError
    from pylon.recorder.report.errors import ReportError
    from pylon.recorder.report.making import read_report, write_page
    from pylon.recorder.report.pictures import write_pictures

    problems: list[str] = []
    try:
        with contextlib.closing(read_report(options.paths, options.launch)) as report:
            problems += report.problems
            _written(json.dumps(report.record(), indent=2) if options.json else "\n".join(report.lines()))
            if options.html:
                _noted(write_page(report, options.html))
            if options.png:
                _noted(write_pictures(report.views(), options.png))
    except (ReportError, HistoryError) as error:
        problems.append(str(error))
    except BrokenPipeError:
        # The reader of the output is gone (as with `| head`): nothing is left to flush.
        sys.stdout = None
        return 0
    for problem in problems:
        _noted(problem)
    return 1 if problems else 0


def _written(text: str) -> None:
    # A name of a file can hold bytes that are no text.
    sys.stdout.write(text.encode("utf-8", "replace").decode("utf-8") + "\n")
    sys.stdout.flush()


def _noted(text: str) -> None:
    lines = text.splitlines()
    sys.stderr.write("".join(f"{printable(line)}\n" for line in lines))
