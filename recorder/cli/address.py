"""The option `--notify` of commands that record."""

import argparse


def notify_address(text: str) -> str:
    """A webhook's address, or one of apprise, for argparse."""
    from pylon.recorder.alerts import NotifyError, destination  # loads what sends them

    try:
        destination(text)
    except NotifyError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("notify: ")) from error
    return text
