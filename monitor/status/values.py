"""What every status consists of: values that know their origin, and the reason for each that is absent."""

import dataclasses
import enum
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args, get_type_hints

Value = TypeVar("Value")

_ORIGINS = "origins"


class Absence(enum.Enum):
    """Why there is no value. Unknown is never 0.

    starting     nothing has been read yet
    unsupported  this machine, kernel, card or driver does not provide it
    denied       not permitted to this user
    lost         the device has gone
    hung         a reading is under way and does not end
    unreachable  readings fail
    stale        the newest reading is too old to be the present state
    """

    STARTING = "starting"
    UNSUPPORTED = "unsupported"
    DENIED = "denied"
    LOST = "lost"
    HUNG = "hung"
    UNREACHABLE = "unreachable"
    STALE = "stale"


class Scope(enum.Enum):
    """What a value describes. In a container the host's memory is not what limits the run."""

    HOST = "host"
    CGROUP = "cgroup"
    PROCESS = "process"
    DEVICE = "device"


class Side(enum.Enum):
    """Where a sample was taken, which decides the source of its values.

    local   on this machine, by the monitor itself
    remote  on a server, by a shell there: from its /proc and its nvidia-smi
    """

    LOCAL = "local"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        scope: what it describes.
        source: the file, call or command that gives it, such as '/proc/stat' or 'nvmlDeviceGetPowerUsage'.
    """

    scope: Scope
    source: str


def measured(
    scope: Scope,
    source: str | None,
    *,
    remote: str | None = None,
    **settings: Any,  # noqa: ANN401 - as dataclasses.field
) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A dataclass field whose values describe `scope` and come from `source`.

    Args:
        scope: what they describe.
        source: on this machine; None if only a server's have one.
        remote: on a server; None: the same file there.
        settings: of dataclasses.field.
    """
    sources = {Side.LOCAL: source, Side.REMOTE: source if remote is None else remote}
    by_side = {side: Origin(scope, text) for side, text in sources.items() if text}
    return field(metadata={_ORIGINS: by_side}, **settings)


def origins(status: object, side: Side | None = None) -> dict[str, Origin]:
    """The origin of each measured field.

    Args:
        status: a status or sample, or the class of one. Other objects and classes have no origins.
        side: where it was taken; None: as in `status`, and this machine if it has no side.

    Returns:
        By field name, without the fields that cannot be read on that side.
    """
    if not dataclasses.is_dataclass(status):
        return {}
    own = getattr(status, "side", None)
    side = side or (own if isinstance(own, Side) else Side.LOCAL)
    by_field = {one.name: one.metadata.get(_ORIGINS, {}) for one in dataclasses.fields(status)}
    return {name: by_side[side] for name, by_side in by_field.items() if side in by_side}


def measured_classes(*roots: type) -> list[type]:
    """The classes with measured fields that values of `roots` consist of, each once."""
    found: list[type] = []
    waiting = list(roots)
    seen: set[type] = set()
    while waiting:
        kind = waiting.pop(0)
        if kind in seen or not dataclasses.is_dataclass(kind):
            continue
        seen.add(kind)
        if any(origins(kind, side) for side in Side):
            found.append(kind)
        waiting += [part for hint in get_type_hints(kind).values() for part in _parts(hint)]
    return found


def _parts(hint: Any) -> Iterator[type]:  # noqa: ANN401 - any annotation
    """The classes in an annotation such as `tuple[X, ...] | None`."""
    if isinstance(hint, type) and not get_args(hint):
        yield hint
    for argument in get_args(hint):
        yield from _parts(argument)


def value_or_none(absent: dict[str, Absence], value: Value | Absence, *names: str) -> Value | None:
    """The value; None in place of a reason, which is put into `absent` under each of `names`."""
    if isinstance(value, Absence):
        absent.update(dict.fromkeys(names, value))
        return None
    return value


@dataclass(frozen=True, slots=True)
class Reading:
    """One value with all that is known about it.

    Attributes:
        value: None if `absence` gives a reason.
        age_s: seconds since it was read; None before the first reading.
        origin: None if the class of the value does not define it.
        absence: why there is no value to rely on.
    """

    value: Any
    age_s: float | None
    origin: Origin | None
    absence: Absence | None


@dataclass(frozen=True, slots=True)
class WindowStats:
    """Statistics of the last samples. All None if none of them had the value.

    Attributes:
        minimum, maximum, mean: over the samples that had the value.
        newest: of the newest sample; None if that one lacked it.
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
