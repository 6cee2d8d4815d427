"""What a control group may use: the tightest limit of all its levels, and what is read as rarely."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from pylon.monitor.collectors.cgroup.paths import Group, Groups
from pylon.monitor.collectors.counters import reason
from pylon.monitor.collectors.kernel_files import content, integer, number
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
        pressure: of cpu, memory and io, in percent of the last 10 s.
    """

    memory: Limit | Absence
    quota: Limit | Absence
    cpuset_cores: int | Absence
    peak: int | Absence
    pressure: tuple[float | Absence, float | Absence, float | Absence]


def read_slow_figures(groups: Groups) -> SlowFigures:
    """Read all of them."""
    memory, cpu = groups.of("memory"), groups.of("cpu")
    peak: int | Absence = Absence.UNSUPPORTED
    if memory is not None:
        peak = number(f"{memory.own}/{memory.named('memory.peak', 'memory.max_usage_in_bytes')}")
    return SlowFigures(
        memory=_tightest(memory, _memory_limit),
        quota=_tightest(cpu, _quota),
        cpuset_cores=_cpuset_cores(groups.of("cpuset")),
        peak=peak,
        pressure=(
            _pressure(groups.unified, "cpu"),
            _pressure(groups.unified, "memory"),
            _pressure(groups.unified, "io"),
        ),
    )


def _tightest(group: Group | None, read: Callable[[int, str], Limit | Absence]) -> Limit | Absence:
    """The least of all levels. A level without the file sets none; one that cannot be read might."""
    if group is None:
        return Absence.UNSUPPORTED
    found = [read(group.version, level) for level in group.levels]
    bounded = [one for one in found if isinstance(one, Limit) and one.value is not None]
    if bounded:
        return min(bounded, key=lambda one: one.value or 0)
    unread = [one for one in found if isinstance(one, Absence) and one is not Absence.UNSUPPORTED]
    return unread[0] if unread else Limit()


def _memory_limit(version: int, level: str) -> Limit | Absence:
    try:
        text = content(f"{level}/{'memory.max' if version == 2 else 'memory.limit_in_bytes'}").strip()
    except OSError as error:
        return reason(error)
    value = _V1_UNLIMITED if text == b"max" else integer(text)
    if isinstance(value, Absence) or value < 0:
        return Absence.UNREACHABLE
    return Limit(value, level) if value < _V1_UNLIMITED else Limit()


def _quota(version: int, level: str) -> Limit | Absence:
    if version == 1:
        quota, period = number(f"{level}/cpu.cfs_quota_us"), number(f"{level}/cpu.cfs_period_us")
    else:
        try:
            first, _, second = content(f"{level}/cpu.max").strip().partition(b" ")
        except OSError as error:
            return reason(error)
        # Version 1 writes "no limit" as -1.
        quota, period = -1 if first == b"max" else integer(first), integer(second)
    if isinstance(quota, Absence) or isinstance(period, Absence):
        return quota if isinstance(quota, Absence) else Absence.UNREACHABLE
    if quota <= 0:
        return Limit()
    return Limit(quota / period, level) if period > 0 else Absence.UNREACHABLE


def _cpuset_cores(group: Group | None) -> int | Absence:
    if group is None:
        return Absence.UNSUPPORTED
    try:
        text = content(f"{group.own}/{group.named('cpuset.cpus.effective', 'cpuset.effective_cpus')}")
    except OSError as error:
        return reason(error)
    cores = 0
    for part in text.strip().split(b","):
        first, _, last = part.partition(b"-")
        last = last or first
        if not (first.isdigit() and last.isdigit() and len(last) < 8 and int(first) <= int(last)):
            return Absence.UNREACHABLE
        cores += int(last) - int(first) + 1
    return cores if cores <= _MOST_CORES else Absence.UNREACHABLE


def _pressure(group: Group | None, resource: str) -> float | Absence:
    if group is None:
        return Absence.UNSUPPORTED
    try:
        words = content(f"{group.own}/{resource}.pressure").split()
        if words[:1] != [b"some"]:
            return Absence.UNREACHABLE
        percent = float(words[1].removeprefix(b"avg10="))
    except OSError as error:
        return reason(error)
    except (ValueError, IndexError):
        return Absence.UNREACHABLE
    return percent if math.isfinite(percent) else Absence.UNREACHABLE
