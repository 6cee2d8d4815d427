"""`watch`: servers and runs on the whole terminal, or line by line where there is none."""

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylon.monitor.cli.commands import above_zero, add_view_options, added_parser, at_least_one
from pylon.monitor.cli.options import ServerChoice, add_server_options
from pylon.monitor.cli.signals import Signals
from pylon.monitor.cli.watch import TERMINALS_WITHOUT_CURSOR, watch
from pylon.views.cli.run_lines import RunLines

if TYPE_CHECKING:
    from pylon.monitor.cli.commands import Subparsers

_INTERVAL_S = 2.0
_EXTRA = (
    "pylon watch: the screen with pages, charts and filters needs the extra 'view': "
    "pip install 'pylon-runner[view]' from the wheel, pip install '.[view]' in a clone."
)


def add_parser(subparsers: "Subparsers") -> None:
    """Add the command."""
    summary = "show servers and runs until it is ended"
    parser = added_parser(
        subparsers, "watch", watch_all, summary, "pylon watch logs --servers-file fleet.toml --interval-s 5"
    )
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="run directories, or folders of runs, shown next to the servers",
    )
    parser.add_argument("--interval-s", type=above_zero, metavar="S", help="between two pictures (2)")
    parser.add_argument("--count", type=at_least_one, metavar="N", help="end after so many (lines)")
    parser.add_argument("--plain", action="store_true", help="lines, also on a terminal")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII")
    add_view_options(parser)
    add_server_options(parser)


def watch_all(options: argparse.Namespace, chosen: ServerChoice, signals: Signals) -> int:
    """Run the command; returns the exit code."""
    lines = RunLines(options.paths) if options.paths else None
    if options.plain or options.json or options.count is not None or not _is_whole_terminal():
        return watch(options, chosen, signals, lines)
    if importlib.util.find_spec("textual") is None:
        code = watch(options, chosen, signals, lines)
        sys.stderr.write(f"{_EXTRA}\n")
        return code
    return _on_the_screen(options, chosen, signals)


def _is_whole_terminal() -> bool:
    terminal = os.environ.get("TERM", "").lower()
    return sys.stdin.isatty() and sys.stdout.isatty() and terminal not in TERMINALS_WITHOUT_CURSOR


def _on_the_screen(options: argparse.Namespace, chosen: ServerChoice, signals: Signals) -> int:
    # textual removes NO_COLOR from the environment.
    colour = not os.environ.get("NO_COLOR")
    from pylon.views.terminal.app import WatchApp
    from pylon.views.terminal.feed import Feed
    from pylon.views.terminal.layout import layout_path
    from pylon.views.terminal.text import knows_unicode

    settings: dict[str, Any] = {"interval_s": _INTERVAL_S, **chosen.settings}
    if options.interval_s is not None:
        settings["interval_s"] = options.interval_s
    with chosen.monitor(**settings) as monitor:
        feed = Feed(monitor, list(chosen.servers), options.paths, settings["interval_s"])
        app = WatchApp(
            feed,
            lambda: bool(signals.number),
            ascii_only=options.ascii or not knows_unicode(),
            colour=colour,
            layout_path=layout_path(),
        )
        app.run(mouse=False)
        code = app.return_code or 0
    return signals.exit_code if signals.number else code
