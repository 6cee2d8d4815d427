"""A port on a command line."""

import argparse

from pylon.monitor.cli.commands import whole_from_zero

_LAST = 65535


def port(text: str) -> int:
    """A port, or 0 for any free one, for argparse."""
    number = whole_from_zero(text)
    if number > _LAST:
        raise argparse.ArgumentTypeError(f"{text!r}, expected 0 to {_LAST}")
    return number
