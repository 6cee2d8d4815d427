"""The ways out: a port that is asked, and a file that is replaced."""

import time
from collections.abc import Callable
from pathlib import Path

from pylon.monitor import MonitorSettingError
from pylon.views.export.collecting import metrics_text
from pylon.views.export.notes import Notes
from pylon.views.export.reading import Reader
from pylon.views.export.server import MetricsServer
from pylon.views.export.textfile import write_textfile

Wait = Callable[[float], bool]
"""Waits so many seconds, or until the end is asked for; whether it is."""


def answer(server: MetricsServer, reader: Reader, every_s: float, wait: Wait, notes: Notes) -> None:
    """Answer scrapes until the end is asked for.

    Args:
        server: listens already.
        reader: of what it shows.
        every_s: between two looks at what is wrong.
        wait: see Wait.
        notes: gets what is wrong.
    """
    with server.answering():
        while not wait(every_s):
            notes.see(reader.picture().runs.problems)


def keep_file(
    target: Path, reader: Reader, every_s: float, wait: Wait, notes: Notes, *, count: int | None = None
) -> bool:
    """Replace a file again and again; whether the last time was a success.

    When the end is asked for, the file is removed: its figures would stay as they were.

    Args:
        target: as `check_target` accepts it.
        reader: of what it shows.
        every_s: between two times.
        wait: see Wait.
        notes: gets what is wrong.
        count: return after so many times, and keep the file; None: go on.
    """
    started_s, written = time.monotonic(), 0
    while True:
        picture, trouble = reader.picture(), []
        try:
            write_textfile(target, metrics_text(picture)[0])
        except OSError as error:
            trouble = [f"{target}: cannot be written ({error.strerror or error}): what was there is old now"]
        notes.see([*trouble, *picture.runs.problems])
        written += 1
        if count is not None and written >= count:
            return not trouble
        if wait(max(0.0, started_s + written * every_s - time.monotonic())):
            target.unlink(missing_ok=True)
            return not trouble


def check_target(target: Path) -> None:
    """Check that node_exporter would read the file.

    Raises:
        MonitorSettingError: it would not.
    """
    if target.suffix != ".prom":
        raise MonitorSettingError(
            f"--textfile: {str(target)!r}, expected a name that ends with .prom: others are not read."
        )
    if not target.parent.is_dir():
        raise MonitorSettingError(
            f"--textfile: {str(target.parent)!r}, expected a folder that exists: make it first."
        )
