"""What a control group may use: the tightest limit of all its levels, and what is read as rarely."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from pylon.monitor.collectors.cgroup.files import Group, GroupsOf, Read, entry, integer, number, pairs
from pylon.monitor.status.values import Absence

# Version 1 writes "no limit" as the largest page-aligned number.
_V1_UNLIMITED = 2**62
_MOST_CORES = 65536


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit and the folder of the level that sets it. None: there is none."""

    value: float | None = None
    level: str | None = None


@dataclass(frozen=True, slots=True)
class SlowFigures:
    """What changes rarely.

    Attributes:
        memory, quota: bytes, and cores.
        cpuset_cores: how many cores it may run on.
        peak: the most memory it has used, in bytes.
        working_set: the memory that the kernel cannot free at once, in bytes.
        pressure: of cpu, memory and io, in percent of the last 10 s.
    """

    memory: Limit | Absence = Absence.STARTING
    quota: Limit | Absence = Absence.STARTING
    cpuset_cores: int | Absence = Absence.STARTING
    peak: int | Absence = Absence.STARTING
    working_set: int | Absence = Absence.STARTING
    pressure: tuple[float | Absence, float | Absence, float | Absence] = (Absence.STARTING,) * 3


def slow_figures(groups: GroupsOf, read: Read) -> SlowFigures:
    """All of them.

    Args:
        groups: of a process.
        read: content of a file.
    """
    memory, unified = groups.of("memory"), groups.unified
    peak: int | Absence = Absence.UNSUPPORTED
    if memory is not None:
        peak = number(read(f"{memory.own}/{memory.named('memory.peak', 'memory.max_usage_in_bytes')}"))
    return SlowFigures(
        memory=_tightest(memory, read, _memory_limit),
        quota=_tightest(groups.of("cpu"), read, _quota),
        cpuset_cores=_cpuset_cores(groups.of("cpuset"), read),
        peak=peak,
        working_set=_working_set(memory, read),
        pressure=(
            _pressure(unified, read, "cpu"),
            _pressure(unified, read, "memory"),
            _pressure(unified, read, "io"),
        ),
    )


def _tightest(
    group: Group | None, read: Read, limit_of: Callable[[int, str, Read], Limit | Absence]
) -> Limit | Absence:
    """The least of all levels. A level without the file sets none; one that cannot be read might."""
    if group is None:
        return Absence.UNSUPPORTED
    found = [limit_of(group.version, level, read) for level in group.levels]
    bounded = [one for one in found if isinstance(one, Limit) and one.value is not None]
    if bounded:
        return min(bounded, key=lambda one: one.value or 0)
    unread = [one for one in found if isinstance(one, Absence)]
    if group.to_root:
        unread = [one for one in unread if one is not Absence.UNSUPPORTED]
    return unread[0] if unread else Limit()


def _memory_limit(version: int, level: str, read: Read) -> Limit | Absence:
    text = read(f"{level}/{'memory.max' if version == 2 else 'memory.limit_in_bytes'}")
    if isinstance(text, Absence):
        return text
    value = _V1_UNLIMITED if text.strip() == "max" else integer(text.strip())
    if isinstance(value, Absence) or value < 0:
        return Absence.UNREACHABLE
    return Limit(value, level) if value < _V1_UNLIMITED else Limit()


def _quota(version: int, level: str, read: Read) -> Limit | Absence:
    if version == 1:
        quota = number(read(f"{level}/cpu.cfs_quota_us"), least=-1)
        period = number(read(f"{level}/cpu.cfs_period_us"))
    else:
        text = read(f"{level}/cpu.max")
        if isinstance(text, Absence):
            return text
        first, _, second = text.strip().partition(" ")
        # Version 1 writes "no limit" as -1.
        quota, period = -1 if first == "max" else integer(first), integer(second)
    if isinstance(quota, Absence) or isinstance(period, Absence):
        return quota if isinstance(quota, Absence) else Absence.UNREACHABLE
    if quota <= 0:
        return Limit()
    return Limit(quota / period, level) if period > 0 else Absence.UNREACHABLE


def _working_set(group: Group | None, read: Read) -> int | Absence:
    """Used less inactive page cache, both read now: figures of two moments could give any difference."""
    if group is None:
        return Absence.UNSUPPORTED
    used = number(read(f"{group.own}/{group.named('memory.current', 'memory.usage_in_bytes')}"))
    stat = pairs(read(f"{group.own}/memory.stat"))
    inactive = entry(stat, group.named("inactive_file", "total_inactive_file"))
    if isinstance(used, Absence) or isinstance(inactive, Absence):
        return used if isinstance(used, Absence) else inactive
    return max(0, used - inactive)


def _cpuset_cores(group: Group | None, read: Read) -> int | Absence:
    if group is None:
        return Absence.UNSUPPORTED
    text = read(f"{group.own}/{group.named('cpuset.cpus.effective', 'cpuset.effective_cpus')}")
    if isinstance(text, Absence):
        return text
    cores = 0
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        begin, end = integer(first), integer(last or first)
        if isinstance(begin, Absence) or isinstance(end, Absence) or not 0 <= begin <= end < _MOST_CORES:
            return Absence.UNREACHABLE
        cores += end - begin + 1
    return cores if cores <= _MOST_CORES else Absence.UNREACHABLE


def _pressure(group: Group | None, read: Read, resource: str) -> float | Absence:
    text = Absence.UNSUPPORTED if group is None else read(f"{group.own}/{resource}.pressure")
    if isinstance(text, Absence):
        return text
    words = text.split()
    if words[:1] != ["some"]:
        return Absence.UNREACHABLE
    try:
        percent = float(words[1].removeprefix("avg10="))
    except (ValueError, IndexError):
        return Absence.UNREACHABLE
    return percent if math.isfinite(percent) and percent >= 0 else Absence.UNREACHABLE
