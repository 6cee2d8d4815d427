"""`watch`: show the servers until it is ended."""

import argparse
import json
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from pylon.monitor.cli.commands import above_zero, add_view_options, added_parser, at_least_one
from pylon.monitor.cli.options import ServerChoice, add_server_options
from pylon.monitor.cli.signals import Signals
from pylon.monitor.system import SystemMonitor
from pylon.monitor.views.plain import snapshot_record
from pylon.monitor.views.table import table_lines

if TYPE_CHECKING:
    from pylon.monitor.cli.commands import Subparsers

_INTERVAL_S = 2.0
_PICTURE_S = 1.0
_HOME, _TO_END_OF_LINE, _TO_END = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR = "\x1b[2J"
# A terminal of these types may not know the codes above.
TERMINALS_WITHOUT_CURSOR = {"", "dumb", "unknown"}


class Further(Protocol):
    """What is shown next to the servers."""

    def lines(self) -> list[str]:
        """Lines for people."""

    def record(self) -> dict[str, Any]:
        """Plain data for programs."""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the command."""
    example = "pylon watch --servers-file fleet.toml --interval-s 5"
    parser = added_parser(subparsers, "watch", watch, "show the servers again and again", example)
    parser.add_argument("--interval-s", type=above_zero, metavar="S", help="between two pictures (2)")
    parser.add_argument("--count", type=at_least_one, metavar="N", help="end after so many")
    add_view_options(parser)
    add_server_options(parser)


def watch(
    options: argparse.Namespace, chosen: ServerChoice, signals: Signals, further: Further | None = None
) -> int:
    """Run the command; returns the exit code."""
    settings = {} if options.interval_s is None else {"interval_s": options.interval_s}
    settings = {"interval_s": _INTERVAL_S, **chosen.settings, **settings}
    terminal = _draws_in_place() and not options.json
    # On a terminal ages go on between readings, too.
    picture_s = min(settings["interval_s"], _PICTURE_S) if terminal else settings["interval_s"]
    started_s, shown = time.monotonic(), 0
    with chosen.monitor(**settings) as monitor:
        if terminal:
            sys.stdout.write(_CLEAR)
        while not signals.wait(_until_next(started_s, shown, picture_s)):
            shown += 1
            if terminal:
                sys.stdout.write(_page(monitor, chosen, further))
            else:
                sys.stdout.write(_lines(monitor, chosen, options.json, further))
            sys.stdout.flush()
            if options.count is not None and shown >= options.count:
                return 0
    return signals.exit_code


def _draws_in_place() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in TERMINALS_WITHOUT_CURSOR


def _until_next(started_s: float, shown: int, picture_s: float) -> float:
    """Seconds until the next picture: on a rhythm without drift, one late picture costs no second one."""
    return max(0.05, started_s + (shown + 1) * picture_s - time.monotonic())


def _page(monitor: SystemMonitor, chosen: ServerChoice, further: Further | None) -> str:
    """The whole terminal, drawn over the former picture without clearing it: that would flicker."""
    columns, height = shutil.get_terminal_size()
    # One line is left for the cursor: the terminal would scroll.
    room = max(2, height - 2)
    more = [line[:columns] for line in further.lines()[: room // 2]] if further is not None else []
    size = (columns, max(2, room - len(more)))
    lines = table_lines(monitor.latest(), monitor.health(), list(chosen.servers), size) + more
    clock = time.strftime("%H:%M:%S")
    return (
        _HOME + "".join(f"{line}{_TO_END_OF_LINE}\n" for line in [f"{clock}  Ctrl-C ends", *lines]) + _TO_END
    )


def _lines(monitor: SystemMonitor, chosen: ServerChoice, as_json: bool, further: Further | None) -> str:
    snapshot, health = monitor.latest(), monitor.health()
    if as_json:
        more = {} if further is None else further.record()
        record = {"wall_time_s": time.time(), **snapshot_record(snapshot, health), **more}
        return json.dumps(record) + "\n"
    clock = time.strftime("%Y-%m-%d %H:%M:%S")
    lines = table_lines(snapshot, health, list(chosen.servers))[1:]
    lines += [] if further is None else further.lines()
    return "".join(f"{clock}  {line}\n" for line in lines)
