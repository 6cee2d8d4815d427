"""Proportional set size of processes, read so that it can do no harm."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from pylon.monitor.collectors.attempts import reason
from pylon.monitor.collectors.counters import Pace
from pylon.monitor.status.values import Absence
from pylon.threads import started

_PATIENCE_S = 0.2


@dataclass(frozen=True, slots=True)
class PssFigure:
    """Of several processes together.

    Attributes:
        pss_bytes: the sum, or why there is none.
        denied: processes whose size this user may not see.
        monotonic_s: when it was read; None before the first.
    """

    pss_bytes: int | Absence = Absence.STARTING
    denied: int = 0
    monotonic_s: float | None = None


class PssReader:
    """Reads it in a thread of its own, rarely.

    The kernel walks all pages of a process for it, under a lock of its memory. So it is waited for a
    moment only: a process that is stuck in the kernel with that lock keeps the thread, and no other
    is started while it does, but the other readings go on.

    Args:
        interval_s: seconds between readings at least; more if they cost much.
        read: bytes of one process; raises psutil.Error or OSError.
        supported: whether the kernel adds it up by itself. If not, a reading costs a hundred times as
            much, and is not made.
    """

    def __init__(
        self,
        interval_s: float,
        read: Callable[[int], int] | None = None,
        *,
        supported: bool | None = None,
    ) -> None:
        self._pace = Pace(interval_s)
        self._read = read or _pss_bytes
        self._supported = Path("/proc/self/smaps_rollup").exists() if supported is None else supported
        self._figure = PssFigure()
        self._spent_s = 0.0
        self._thread: threading.Thread | None = None

    def read(self, now_s: float, pids: Sequence[int]) -> PssFigure:
        """The newest figure; a new one if it is due and the one before has been read."""
        if not self._supported:
            return PssFigure(Absence.UNSUPPORTED)
        if self._is_reading():
            return PssFigure(Absence.HUNG, monotonic_s=self._figure.monotonic_s)
        if self._pace.due(now_s):
            thread = threading.Thread(target=self._sum, args=(now_s, pids), name="pss", daemon=True)
            if not started(thread):
                return PssFigure(Absence.UNREACHABLE, monotonic_s=self._figure.monotonic_s)
            self._thread = thread
            thread.join(_PATIENCE_S)
            self._pace.took(now_s, self._spent_s)
            if self._is_reading():
                return PssFigure(Absence.HUNG, monotonic_s=self._figure.monotonic_s)
        return self._figure

    def _is_reading(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _sum(self, now_s: float, pids: Sequence[int]) -> None:
        before_s = time.thread_time()
        total, read, denied, lack = 0, 0, 0, Absence.LOST
        for pid in pids:
            try:
                total += self._read(pid)
                read += 1
            except (psutil.Error, OSError, ValueError) as error:
                lack = reason(error)
                denied += lack is Absence.DENIED
        self._spent_s = time.thread_time() - before_s
        self._figure = PssFigure(total if read else lack, denied, now_s)


def _pss_bytes(pid: int) -> int:
    return int(psutil.Process(pid).memory_full_info().pss)
