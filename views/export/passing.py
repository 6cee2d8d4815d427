"""Pictures on their ways: into a file, or to a collector."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from pylon.monitor import MonitorSettingError
from pylon.views.export.notes import Notes
from pylon.views.export.picture import Picture
from pylon.views.export.reading import Reader
from pylon.views.export.text import metrics_text
from pylon.views.export.textfile import write_textfile

Wait = Callable[[float], bool]
"""Waits so many seconds, or until the end is asked for; whether it is."""


class Way(Protocol):
    """Where pictures go."""

    def give(self, picture: Picture) -> str:
        """Pass one on; returns what is wrong, or nothing."""

    def end(self, *, is_done: bool) -> bool:
        """Give no more.

        Args:
            is_done: all that was asked for was given; otherwise a signal has come.

        Returns:
            Whether the last picture has arrived.
        """


def pass_on(
    ways: Sequence[Way], reader: Reader, every_s: float, wait: Wait, notes: Notes, *, count: int | None = None
) -> bool:
    """Pass on pictures until the end is asked for; whether the last one has arrived everywhere.

    Args:
        ways: where they go; none: what is wrong is noted all the same.
        reader: takes them.
        every_s: between two.
        wait: see Wait.
        notes: gets what is wrong.
        count: end after so many; None: go on.
    """
    started_s, given = time.monotonic(), 0
    while True:
        picture = reader.picture()
        trouble = [way.give(picture) for way in ways]
        notes.see([*filter(None, trouble), *picture.runs.problems])
        given += 1
        is_done = count is not None and given >= count
        if is_done or wait(max(0.0, started_s + given * every_s - time.monotonic())):
            arrived = [way.end(is_done=is_done) for way in ways]
            return all(arrived)


class TextFile:
    """A file for node_exporter. A signal removes it: its figures would stay as they were.

    Args:
        target: NAME.prom.

    Raises:
        MonitorSettingError: node_exporter would not read it.
    """

    def __init__(self, target: Path) -> None:
        _check(target)
        self._target = target
        self._is_written = False

    def give(self, picture: Picture) -> str:
        """Replace the file."""
        self._is_written = False
        try:
            write_textfile(self._target, metrics_text(picture)[0])
        except OSError as error:
            reason = error.strerror or error
            return f"{self._target}: cannot be written ({reason}): what was there is old now"
        self._is_written = True
        return ""

    def end(self, *, is_done: bool) -> bool:
        """Keep the file, or remove it."""
        if not is_done:
            self._target.unlink(missing_ok=True)
        return self._is_written


def _check(target: Path) -> None:
    if target.suffix != ".prom":
        raise MonitorSettingError(
            f"--textfile: {str(target)!r}, expected a name that ends with .prom: others are not read."
        )
    if not target.parent.is_dir():
        raise MonitorSettingError(
            f"--textfile: {str(target.parent)!r}, expected a folder that exists: make it first."
        )
