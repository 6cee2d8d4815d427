"""What the recorder looks at itself: clock, disk, memory while it runs out, and the state of the monitors."""

import os
import time
from pathlib import Path
from typing import Any

from pylon.monitor import MonitorHealth
from pylon.recorder.endings import MemoryCounts
from pylon.recorder.history import SeriesKey

_DISK_EVERY_S = 10.0
_JUMP_S = 2.0

_DISK_FREE = SeriesKey("localhost", "", "disk_free", "bytes", "host")
_DISK_TOTAL = SeriesKey("localhost", "", "disk_total", "bytes", "host")
_AVAILABLE = SeriesKey("localhost", "", "memory_available", "bytes", "host")
_LIMIT_USED = SeriesKey("localhost", "", "cgroup_memory_limit_used", "bytes", "cgroup")

Reading = tuple[SeriesKey, float | None, str | None]


class ClockWatch:
    """Notices jumps of the machine's clock: the record's times go on steadily, other programs' do not.

    Args:
        now_s: monotonic seconds.
    """

    def __init__(self, now_s: float) -> None:
        self._offset = time.time() - now_s

    def jump(self, now_s: float) -> dict[str, float] | None:
        """By how much the clock was set since the last call; None if it was not."""
        before, offset = self._offset, time.time() - now_s
        if abs(offset - before) <= _JUMP_S:
            return None
        self._offset = offset
        return {"jump_s": round(offset - before, 3), "clock": round(offset + now_s, 3)}


class DiskWatch:
    """The room on the disk of the record, now and then.

    Args:
        folder: of the record.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._looked_s = -_DISK_EVERY_S

    def readings(self, now_s: float) -> list[Reading] | None:
        """Free and total bytes; None if that is not due, or the folder is gone."""
        if now_s - self._looked_s < _DISK_EVERY_S:
            return None
        self._looked_s = now_s
        try:
            disk = os.statvfs(self._folder)
        except OSError:
            return None
        free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        return [(_DISK_FREE, float(free), None), (_DISK_TOTAL, float(total), None)]


def memory_readings(counts: MemoryCounts) -> list[Reading]:
    """What a quick look at the memory gives, as figures that the monitors read more rarely."""
    values = ((_AVAILABLE, counts.available_bytes), (_LIMIT_USED, counts.used_bytes))
    return [(key, float(value), None) for key, value in values if value is not None]


def shown_state(health: MonitorHealth) -> str:
    """What counts as a change of a monitor's state."""
    return health.state.value if health.slowed_by is None else f"{health.state.value}, {health.slowed_by}"


def health_detail(name: str, health: MonitorHealth) -> dict[str, Any]:
    """The detail of a mark of kind 'health'."""
    error = None if health.last_error is None else str(health.last_error)
    return {"monitor": name, "state": health.state.value, "error": error}
