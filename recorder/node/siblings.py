"""One recorder for all processes of a launcher on one machine: its address is in the record's folder."""

import contextlib
import os
import platform
import time
from pathlib import Path

from pylon.recorder.channel import Channel, ChannelError
from pylon.storage import PlantedError, open_unlinked, write_text

_LOOK_EVERY_S = 0.02
_MOST_BYTES = 256


def announce(folder: Path, address: str) -> None:
    """Let the other processes find the recorder.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(_file(folder), address)


def join_sibling(folder: Path, rank: int | None, within_s: float) -> Channel | None:
    """The channel of the process that records into `folder` on this machine; None if none comes in time."""
    until_s = time.monotonic() + within_s
    while True:
        # Not there yet, or of an earlier launch.
        with contextlib.suppress(OSError, PlantedError, ChannelError, UnicodeDecodeError):
            return Channel.join(_address(_file(folder)), rank)
        if time.monotonic() > until_s:
            return None
        time.sleep(_LOOK_EVERY_S)


def _file(folder: Path) -> Path:
    return folder / f"recorder-{platform.node() or 'localhost'}.address"


def _address(path: Path) -> str:
    descriptor = open_unlinked(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST_BYTES).decode("ascii")
    finally:
        os.close(descriptor)
