"""`export`: servers and runs for Prometheus and OpenTelemetry."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pylon.monitor import printable
from pylon.monitor.cli.commands import above_zero, added_parser, at_least_one
from pylon.monitor.cli.options import ServerChoice, add_monitor_option, add_server_options
from pylon.monitor.cli.signals import Signals
from pylon.monitor.cli.waiting import two_readings, wait_for_all

if TYPE_CHECKING:
    from pylon.monitor.cli.commands import Subparsers
    from pylon.views.export.reading import Reader

_INTERVAL_S = 15.0
# Figures that are scraped are to be of the last seconds.
_LONGEST_MONITOR_INTERVAL_S = 5.0
_FIRST_READINGS_S = 10.0
_EXIT_CODES = """exit codes:
  0    printed, or written --count times
  1    the last of these could not be written
  2    the command line or the fleet file is wrong
  130  Ctrl-C
  143  SIGTERM (129: SIGHUP)
"""
_SHIPPED = ("alerts", "dashboard")


def add_parser(subparsers: "Subparsers") -> None:
    """Add the command."""
    example = "pylon export logs --servers-file fleet.toml\n  pylon export logs --textfile pylon.prom"
    summary = "give figures of servers and runs to Prometheus"
    parser = added_parser(subparsers, "export", export, summary, example, exit_codes=_EXIT_CODES)
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="RUN", help="run directory, history.sqlite, or folder of runs"
    )
    parser.add_argument(
        "--textfile", type=Path, metavar="FILE.prom", help="write a file for node_exporter; open no port"
    )
    parser.add_argument("--interval-s", type=above_zero, metavar="S", help="between two readings (15)")
    parser.add_argument("--count", type=at_least_one, metavar="N", help="end after so many, keep the file")
    parser.add_argument("--print", choices=_SHIPPED, help="print the alert rules or the Grafana dashboard")
    parser.add_argument("--no-gpu", action="store_true", help="open no GPU driver")
    add_monitor_option(parser)
    add_server_options(parser)


def export(options: argparse.Namespace, chosen: ServerChoice, signals: Signals) -> int:
    """Run the command; returns the exit code."""
    if options.print is not None:
        from pylon.views.export.shipped import shipped_text

        sys.stdout.write(shipped_text(options.print))
        return 0
    from pylon.views.export.reading import Reader

    if options.textfile is not None:
        problem = _unusable(options.textfile)
        if problem:
            return _refused(problem)
    every_s: float = options.interval_s or _INTERVAL_S
    settings = {"interval_s": min(every_s, _LONGEST_MONITOR_INTERVAL_S), **chosen.settings}
    if options.no_gpu:
        settings["gpu"] = False
    names = list(chosen.servers)
    with chosen.monitor(**settings) as monitor, Reader(monitor, names, options.paths, every_s) as reader:
        if options.textfile is not None:
            wait_for_all(monitor, names, _FIRST_READINGS_S, two_readings({}), signals)
            reader.wait(_FIRST_READINGS_S)
            return _write_files(options, reader, signals, every_s)
    return signals.exit_code


def _write_files(options: argparse.Namespace, reader: "Reader", signals: Signals, every_s: float) -> int:
    """Write the file again and again. A signal removes it: figures that do not age would be false."""
    from pylon.views.export.collecting import metrics_text
    from pylon.views.export.notes import Notes
    from pylon.views.export.textfile import write_textfile

    target: Path = options.textfile
    notes = Notes(_noted)
    started_s, written = time.monotonic(), 0
    while not signals.number:
        picture, trouble = reader.picture(), []
        try:
            write_textfile(target, metrics_text(picture)[0])
        except OSError as error:
            trouble = [f"{target}: cannot be written ({error.strerror or error}): what was there is old now"]
        notes.see([*trouble, *picture.runs.problems])
        written += 1
        if options.count is not None and written >= options.count:
            return 1 if trouble else 0
        signals.wait(max(0.0, started_s + written * every_s - time.monotonic()))
    target.unlink(missing_ok=True)
    return signals.exit_code


def _unusable(target: Path) -> str:
    """Why node_exporter would not read the file; empty if it would."""
    if target.suffix != ".prom":
        return f"--textfile: {str(target)!r}, expected a name that ends with .prom: others are not read."
    if not target.parent.is_dir():
        return f"--textfile: {str(target.parent)!r}, expected a folder that exists: make it first."
    return ""


def _noted(text: str) -> None:
    sys.stderr.write(f"pylon export: {printable(text)}\n")


def _refused(text: str) -> int:
    _noted(text)
    return 2
