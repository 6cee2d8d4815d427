"""The state of a monitor itself, seen from outside: a loop that is blocked cannot report that it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pylon.monitor.status.failure import Failure
from pylon.monitor.status.states import MonitorState
from pylon.monitor.status.values import age_s


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """How the readings of one server succeed.

    Attributes:
        success_s: monotonic time of the newest reading that succeeded; None before the first.
        consecutive_failures: readings that failed since.
        last_error: the newest failure; None after a success.
        busy_since_s: monotonic time since when a reading is under way; None between readings.
        reading_s: duration of the newest reading; None before the first.
        overruns: ticks skipped because a reading took longer than the interval.
    """

    success_s: float | None = None
    consecutive_failures: int = 0
    last_error: Failure | None = None
    busy_since_s: float | None = None
    reading_s: float | None = None
    overruns: int = 0

    @property
    def last_success_age_s(self) -> float | None:
        """Seconds since the newest reading that succeeded; None before the first."""
        return _since(self.success_s)

    @property
    def busy_for_s(self) -> float | None:
        """How long the reading under way has taken; None between readings."""
        return _since(self.busy_since_s)

    def as_record(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "last_success_age_s": self.last_success_age_s,
            "consecutive_failures": self.consecutive_failures,
            "last_error": _error_record(self.last_error),
            "busy_for_s": self.busy_for_s,
            "reading_s": self.reading_s,
            "overruns": self.overruns,
        }


@dataclass(frozen=True, slots=True)
class ServerReport(ServerHealth):
    """What a monitor's process reports of one server.

    Attributes:
        status: the newest reading that succeeded, pickled until it is in the training process; None before
            the first.
    """

    status: Any = None


@dataclass(frozen=True, slots=True)
class MonitorHealth:
    """The state of one monitor.

    Attributes:
        state: see MonitorState.
        pid: its process; None while there is none.
        restarts: how often it was replaced.
        last_error: why, the last time.
        no_answer_since_s: monotonic time of its last sign of life, while that is overdue.
        slowdown: by what its interval is multiplied: more than 1 after it was over its limits.
        slowed_because: the limit it was over, with the newest figure; None if it was not.
        servers: per server.
        slowed_by: that limit alone, as ResourceLimits names it: 'cpu_share' or 'memory_bytes'.
    """

    state: MonitorState
    pid: int | None = None
    restarts: int = 0
    last_error: Failure | None = None
    no_answer_since_s: float | None = None
    slowdown: float = 1.0
    slowed_because: str | None = None
    servers: Mapping[str, ServerHealth] = field(default_factory=dict)
    slowed_by: str | None = None

    @property
    def no_answer_for_s(self) -> float | None:
        """Seconds since its last sign of life, while that is overdue."""
        return _since(self.no_answer_since_s)

    def as_record(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "state": self.state.value,
            "pid": self.pid,
            "restarts": self.restarts,
            "last_error": _error_record(self.last_error),
            "no_answer_for_s": self.no_answer_for_s,
            "slowdown": self.slowdown,
            "slowed_because": self.slowed_because,
            "slowed_by": self.slowed_by,
            "servers": {server: one.as_record() for server, one in self.servers.items()},
        }


def _error_record(error: Failure | None) -> dict[str, str] | None:
    return None if error is None else {"kind": error.kind, "text": error.text}


def _since(monotonic_s: float | None) -> float | None:
    return None if monotonic_s is None else age_s(monotonic_s)
