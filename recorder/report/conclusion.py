"""How a launch ended of which that is not recorded."""

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from pylon.recorder.endings import Here, ending_by_reader
from pylon.recorder.history import EndingRow, History, LaunchRow, is_written

SILENT_S = 60.0
"""A recorder that writes once a second has not been silent for so long."""


def last_seen_of(history: History, launch: LaunchRow, later: Sequence[LaunchRow]) -> float:
    """The time of a launch's newest entry: its samples are older than the next launch."""
    until = later[0].began_at if later else math.inf
    sampled = history.last_sample_at(launch.began_at, until)
    marks = history.newest_marks(launch.id or 0)
    window = history.newest_window(launch.id or 0)
    stepped = 0.0 if window is None else window.t + window.width
    return max(launch.began_at, sampled or 0.0, marks[-1].t if marks else 0.0, stepped)


def concluded(launch: LaunchRow, last_seen: float, record: Path | None) -> EndingRow | None:
    """What its reader knows of the end of a launch that has no ending; None if it runs, here or elsewhere.

    Args:
        launch: its row.
        last_seen: time of its newest entry.
        record: its file, whose writer and whose disk show whether it runs; None: not known, or
            a later launch is in it.
    """
    if record is not None and is_written(record):
        return None
    here = Here()
    elsewhere = launch.host is not None and launch.host != here.host
    if elsewhere and 0 <= time.time() - last_seen < SILENT_S:
        return None
    return ending_by_reader(launch, last_seen, here, None if record is None else _room_left(record.parent))


def _room_left(folder: Path) -> int | None:
    """Free bytes on the disk of a folder; None: not known."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
