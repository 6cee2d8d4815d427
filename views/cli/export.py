"""`export`: servers and runs for Prometheus and OpenTelemetry."""

import argparse
import functools
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pylon.monitor import printable
from pylon.monitor.cli.commands import above_zero, added_parser, at_least_one
from pylon.monitor.cli.options import ServerChoice, add_monitor_option, add_server_options
from pylon.monitor.cli.signals import Signals
from pylon.monitor.cli.waiting import two_readings, wait_for_all
from pylon.views.cli.listening import add_listening_options, add_run_paths

if TYPE_CHECKING:
    from pylon.monitor.cli.commands import Subparsers
    from pylon.views.export.passing import Way
    from pylon.views.export.picture import Picture
    from pylon.views.export.server import MetricsServer

_INTERVAL_S = 15.0
_PORT = 9466
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
    summary = "give figures to Prometheus or OpenTelemetry"
    parser = added_parser(subparsers, "export", export, summary, example, exit_codes=_EXIT_CODES)
    add_run_paths(parser)
    parser.add_argument(
        "--textfile", type=Path, metavar="FILE.prom", help="write a file for node_exporter; open no port"
    )
    parser.add_argument("--otlp", metavar="URL", help="send to an OpenTelemetry collector (extra 'otlp')")
    token = "what clients must send; needed beyond this machine"
    # Without one that is asked for, the other ways open none.
    add_listening_options(parser, _PORT, token=token, callers="clients", default=None)
    parser.add_argument(
        "--interval-s", type=above_zero, default=_INTERVAL_S, metavar="S", help=f"({_INTERVAL_S:g})"
    )
    parser.add_argument("--count", type=at_least_one, metavar="N", help="end after so many, keep the file")
    parser.add_argument("--print", choices=_SHIPPED, help="print the alert rules or the Grafana dashboard")
    parser.add_argument("--no-gpu", action="store_true", help="open no GPU driver")
    add_monitor_option(parser)
    add_server_options(parser)


def export(options: argparse.Namespace, chosen: ServerChoice, signals: Signals) -> int:
    """Run the command; returns the exit code."""
    if options.print is not None:
        from pylon.views.export.shipped import shipped_text

        _shown(shipped_text(options.print))
        return 0
    from pylon.views.export.notes import Notes
    from pylon.views.export.passing import pass_on
    from pylon.views.export.reading import Reader

    with ExitStack() as ends:
        ways = _ways(options, ends)
        settings = {"interval_s": min(options.interval_s, _LONGEST_MONITOR_INTERVAL_S), **chosen.settings}
        names = list(chosen.servers)
        listening = None if ways and options.port is None else _listening(options)
        monitor = ends.enter_context(chosen.monitor(**settings))
        reader = ends.enter_context(Reader(monitor, names, options.paths, options.interval_s))
        if listening is not None:
            server = ends.enter_context(listening(reader.picture))
            ends.enter_context(server.answering())
            _shown(f"{server.url}\n")
        if ways:
            # Without the first readings all servers would be down in the first picture.
            wait_for_all(monitor, names, _FIRST_READINGS_S, two_readings({}), signals)
            reader.wait(_FIRST_READINGS_S)
        arrived = pass_on(ways, reader, options.interval_s, signals.wait, Notes(_noted), count=options.count)
    return signals.exit_code if signals.number else int(not arrived)


def _ways(options: argparse.Namespace, ends: ExitStack) -> "list[Way]":
    from pylon.views.export.passing import TextFile

    ways: list[Way] = []
    if options.textfile is not None:
        ways.append(TextFile(options.textfile))
    if options.otlp is not None:
        from pylon.views.export.otlp import OTLPSender, endpoint_of

        ways.append(ends.enter_context(OTLPSender(endpoint_of(options.otlp))))
    return ways


def _listening(options: argparse.Namespace) -> "Callable[[Callable[[], Picture]], MetricsServer]":
    from pylon.views.access import Access, Address
    from pylon.views.export.server import MetricsServer

    address = Address.of(options.host, _PORT if options.port is None else options.port)
    access = Access.of(address, options.allow_host, options.token_file)
    return functools.partial(MetricsServer, address, access)


def _shown(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _noted(text: str) -> None:
    sys.stderr.write(f"pylon export: {printable(text)}\n")
