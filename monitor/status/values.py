"""What every status is made of: values that know their origin, and the reason where one is absent."""

import dataclasses
import enum
import time
from dataclasses import dataclass, field
from typing import Any

_ORIGIN = "origin"


class Absence(enum.Enum):
    """Why there is no value. Unknown is never 0.

    starting     nothing has been read yet
    unsupported  this machine, kernel, card or driver does not tell it
    denied       not permitted to this user
    lost         the device has gone
    hung         a reading is under way and does not end
    unreachable  readings fail
    stale        the newest reading is too old to stand for the present
    """

    STARTING = "starting"
    UNSUPPORTED = "unsupported"
    DENIED = "denied"
    LOST = "lost"
    HUNG = "hung"
    UNREACHABLE = "unreachable"
    STALE = "stale"


class Scope(enum.Enum):
    """What a value speaks of. In a container the host's memory is not what binds the run."""

    HOST = "host"
    CGROUP = "cgroup"
    PROCESS = "process"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        scope: what it speaks of.
        source: the file or call that tells it, such as '/proc/stat' or 'nvmlDeviceGetPowerUsage'.
    """

    scope: Scope
    source: str


def measured(scope: Scope, source: str, **settings: Any) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A dataclass field whose values come from `source` and speak of `scope`."""
    return field(metadata={_ORIGIN: Origin(scope, source)}, **settings)


def origins(status: type) -> dict[str, Origin]:
    """The origin of each measured field of a status or sample class; none of any other class."""
    if not dataclasses.is_dataclass(status):
        return {}
    return {one.name: one.metadata[_ORIGIN] for one in dataclasses.fields(status) if _ORIGIN in one.metadata}


@dataclass(frozen=True, slots=True)
class Reading:
    """One value with all that is known about it.

    Attributes:
        value: None where `absence` says why.
        age_s: seconds since it was read; None before the first reading.
        origin: None where the class of the value does not tell it.
        absence: why there is no value to rely on.
    """

    value: Any
    age_s: float | None
    origin: Origin | None
    absence: Absence | None


@dataclass(frozen=True, slots=True)
class WindowStats:
    """Statistics of the last samples. All None where none of them had the value.

    Attributes:
        minimum, maximum, mean: over the samples that had the value.
        newest: of the newest sample; None where that one lacked it.
        count: number of samples that had the value.
    """

    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    newest: float | None = None
    count: int = 0


def age_s(monotonic_s: float) -> float:
    """Seconds since `monotonic_s`. Linux has one monotonic clock for all processes."""
    return max(0.0, time.monotonic() - monotonic_s)
