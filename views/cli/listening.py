"""What the commands that open a port have in common: which runs they show, where they listen, who may ask."""

import argparse
from pathlib import Path

from pylon.monitor.cli.commands import whole_from_zero

_HOST = "127.0.0.1"
_LAST = 65535


def add_run_paths(parser: argparse.ArgumentParser) -> None:
    """The runs."""
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="RUN", help="run directory, history.sqlite, or folder of runs"
    )


def add_listening_options(
    parser: argparse.ArgumentParser, port: int, *, token: str, callers: str, default: int | None
) -> None:
    """Where to listen, and who may ask.

    Args:
        parser: of the command.
        port: that is used if none is given, for the help.
        token: what the token is for, for the help.
        callers: who calls the server by a name.
        default: of the option; None: the command decides.
    """
    parser.add_argument("--host", default=_HOST, metavar="ADDRESS", help=f"where it listens ({_HOST})")
    parser.add_argument("--port", type=_port, default=default, metavar="N", help=f"({port}); 0: any free one")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=token)
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help=f"a name by which {callers} call it"
    )


def _port(text: str) -> int:
    number = whole_from_zero(text)
    if number > _LAST:
        raise argparse.ArgumentTypeError(f"{text!r}, expected 0 to {_LAST}")
    return number
