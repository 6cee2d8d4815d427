"""How often to look: more often while memory is about to run out."""

from pylon.recorder.endings import MemoryCounts

_NEAR = 0.9
_FAST_S = 0.15
_RISE_PERCENT = 2.0
# It is left when this has been quiet for so long, so that it does not change with every look.
_QUIET_S = 5.0


class Rate:
    """The time between two looks.

    Args:
        interval_s: when nothing is about to happen.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._fast_until_s = 0.0
        self._pressure: float | None = None

    def is_fast(self, now_s: float) -> bool:
        """Whether looks come quickly at present."""
        return now_s < self._fast_until_s

    def wait_s(self, now_s: float) -> float:
        """Until the next look."""
        return min(_FAST_S, self._interval_s) if self.is_fast(now_s) else self._interval_s

    def note(self, counts: MemoryCounts, pressure: float | None) -> None:
        """Go by a look at the memory, and by the percentage of time in which a task waited for it."""
        former, self._pressure = self._pressure, pressure
        rises = pressure is not None and former is not None and pressure > former + _RISE_PERCENT
        if rises or (counts.nearness or 0.0) >= _NEAR:
            self._fast_until_s = counts.monotonic_s + _QUIET_S
