"""What all CPU collectors are made of: attempts with a reason, rates of counters, and a pace."""

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

import psutil

from pylon.monitor.status.values import Absence

Value = TypeVar("Value")
Key = TypeVar("Key", bound=Hashable)

# A rate over less than this is chance: the kernel counts CPU time in steps of 10 ms.
SHORTEST_INTERVAL_S = 0.05
# What one costly reading may take of a core.
_SHARE = 0.001
# psutil raises these too where a file of the kernel is not as it expects; an AssertionError among them.
_FAILURES = (OSError, psutil.Error, ValueError, RuntimeError, LookupError, AttributeError, AssertionError)


def attempt(read: Callable[[], Value]) -> Value | Absence:
    """What `read` returns, or why it could not be read."""
    try:
        return read()
    except _FAILURES as error:
        return reason(error)


def reason(error: Exception) -> Absence:
    """Why a value is absent, from the error that its reading raised."""
    if isinstance(error, PermissionError | psutil.AccessDenied):
        return Absence.DENIED
    if isinstance(error, psutil.NoSuchProcess | ProcessLookupError):
        return Absence.LOST
    if isinstance(error, FileNotFoundError | NotImplementedError | AttributeError):
        return Absence.UNSUPPORTED
    # EOPNOTSUPP: the kernel has the file, and the feature behind it switched off (as pressure often is).
    if isinstance(error, OSError) and error.errno == 95:
        return Absence.UNSUPPORTED
    return Absence.UNREACHABLE


def known(absent: dict[str, Absence], value: Value | Absence, *names: str) -> Value | None:
    """The value; None where there is none, with the reason noted in `absent` under each of `names`."""
    if isinstance(value, Absence):
        absent.update(dict.fromkeys(names, value))
        return None
    return value


class Meter(Generic[Key]):
    """Counters that only grow, read as one rate: what those that both readings saw grew by, together."""

    def __init__(self) -> None:
        self._former: tuple[float, Mapping[Key, float]] | None = None
        self._rate: float | Absence = Absence.STARTING

    def rate(self, now_s: float, counters: Mapping[Key, float]) -> float | Absence:
        """Growth per second since the reading before; STARTING where there is none to compare with.

        A counter that went back (a device or group was made anew) starts again: never a negative
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
        share: CPU time it may take in a second.
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
