"""`serve`: a page with the servers and runs, kept up to date."""

import argparse
import secrets
import sys
import time
from typing import TYPE_CHECKING

from pylon.extras import missing_extra
from pylon.monitor import SystemMonitor, printable
from pylon.monitor.cli.commands import above_zero, added_parser
from pylon.monitor.cli.options import ServerChoice, add_monitor_option, add_server_options
from pylon.monitor.cli.signals import Signals
from pylon.views.cli.listening import add_listening_options, add_run_paths
from pylon.views.sources.board import Runs

if TYPE_CHECKING:
    from pylon.monitor.cli.commands import Subparsers
    from pylon.views.web.app import TextRoute
    from pylon.views.web.picture import Picture

_INTERVAL_S = 2.0
_PORT = 8790
_TOKEN_BYTES = 24
_LOOK_EVERY_S = 1.0
_EXIT_CODES = """exit codes:
  0    ended after --for-s
  1    the web server ended by itself
  2    the command line or the fleet file is wrong, or the port is taken
  130  Ctrl-C
  143  SIGTERM (129: SIGHUP)
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the command."""
    example = "pylon serve logs --servers-file fleet.toml"
    summary = "show servers and runs in a browser"
    parser = added_parser(subparsers, "serve", serve, summary, example, exit_codes=_EXIT_CODES)
    add_run_paths(parser)
    token = (
        "what viewers must know; beyond this machine there is always a token: without a file, one is "
        "made and printed"
    )
    add_listening_options(parser, _PORT, token=token, callers="browsers", default=_PORT)
    parser.add_argument(
        "--interval-s", type=above_zero, default=_INTERVAL_S, metavar="S", help=f"({_INTERVAL_S:g})"
    )
    parser.add_argument("--for-s", type=above_zero, metavar="S", help="end after so many seconds")
    parser.add_argument("--no-gpu", action="store_true", help="open no GPU driver")
    parser.add_argument(
        "--commands", action="store_true", help="show command lines; what looks like a secret is masked"
    )
    parser.add_argument(
        "--all-commands", action="store_true", help="those of other users' GPU processes too (--commands)"
    )
    add_monitor_option(parser)
    add_server_options(parser)


def serve(options: argparse.Namespace, chosen: ServerChoice, signals: Signals) -> int:
    """Run the command; returns the exit code."""
    from pylon.views.access import Access, Address
    from pylon.views.web.reading import Reader
    from pylon.views.web.server import opened, serving, url_of

    address = Address.of(options.host, options.port)
    made = None
    if options.token_file is None and not address.is_loopback:
        made = secrets.token_urlsafe(_TOKEN_BYTES)
    access = Access.of(address, options.allow_host, options.token_file, made)
    listening = opened(address)
    settings = {**chosen.settings, "interval_s": options.interval_s}
    names, every_s = list(chosen.servers), options.interval_s
    with (
        listening,
        chosen.monitor(**settings) as monitor,
        Reader(monitor, names, options.paths, every_s) as reader,
        serving(
            listening, access, reader, every_s, commands=options.commands, texts=_texts(monitor)
        ) as server,
    ):
        _shown(url_of(listening))
        if made is not None:
            _shown(f"token: {made}")
        until_s = time.monotonic() + (float("inf") if options.for_s is None else options.for_s)
        while server.is_alive and not signals.wait(min(_LOOK_EVERY_S, until_s - time.monotonic())):
            if time.monotonic() >= until_s:
                return 0
        if not signals.number:
            sys.stderr.write("pylon serve: the web server ended by itself. Start it again.\n")
            return 1
        return signals.exit_code


def _texts(monitor: SystemMonitor) -> "dict[str, TextRoute]":
    """`/metrics`, if the extra `export` is installed."""
    try:
        from pylon.views.export.picture import Picture as Exported
        from pylon.views.export.text import metrics_text
    except ModuleNotFoundError as error:
        if missing_extra(error) is None:
            raise
        return {}

    def metrics(picture: "Picture", accept: str) -> tuple[bytes, str]:
        runs = Runs(tuple(picture.runs.values()), picture.problems, picture.left_out)
        servers = tuple(picture.servers.values())
        return metrics_text(Exported(servers, runs, monitor.health()), accept)

    return {"/metrics": metrics}


def _shown(text: str) -> None:
    sys.stdout.write(f"{printable(text)}\n")
    sys.stdout.flush()
