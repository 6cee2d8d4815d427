"""Rates of counters, and the pace of costly readings."""

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from pylon.monitor.status.values import Absence

Key = TypeVar("Key", bound=Hashable)

# A rate over less than this is chance: the kernel counts CPU time in steps of 10 ms.
SHORTEST_INTERVAL_S = 0.05
# CPU time that one costly reading may use, as a share of a core.
_SHARE = 0.001


class Meter(Generic[Key]):
    """Counters that only grow, read as one rate: the growth of all that both readings saw, together."""

    def __init__(self) -> None:
        self._former: tuple[float, Mapping[Key, float]] | None = None
        self._rate: float | Absence = Absence.STARTING

    def rate(self, now_s: float, counters: Mapping[Key, float]) -> float | Absence:
        """Growth per second since the reading before; STARTING if there is none to compare with.

        A counter that went back (a device or group was created again) starts again: never a negative
        rate, and no rate of the others alone. Readings in quick succession give the same rate.
        """
        if self._former is not None and now_s - self._former[0] < SHORTEST_INTERVAL_S:
            return self._rate
        former, self._former = self._former, (now_s, counters)
        self._rate = Absence.STARTING
        if former is not None:
            shared = former[1].keys() & counters.keys()
            grown = [counters[key] - former[1][key] for key in shared]
            if grown and min(grown) >= 0:
                self._rate = sum(grown) / (now_s - former[0])
        return self._rate


class Pace:
    """When a costly reading is due: every `interval_s`, or as rarely as keeps it to 0.1 % of a core.

    Args:
        interval_s: seconds between readings at least.
        share: CPU time it may use in a second.
    """

    def __init__(self, interval_s: float, share: float = _SHARE) -> None:
        self._interval_s = interval_s
        self._share = share
        self._due_s: float | None = None

    def due(self, now_s: float) -> bool:
        """Whether it is time."""
        return self._due_s is None or now_s >= self._due_s

    def took(self, now_s: float, spent_s: float) -> None:
        """A reading was made at `now_s` and took `spent_s` of CPU time."""
        self._due_s = now_s + max(self._interval_s, spent_s / self._share)
