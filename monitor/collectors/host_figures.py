"""A host's figures from what was read of it: arithmetic alone, the same for this machine and for a server.

The readers (`collectors.host`, `remote.far.host`) only fetch counters; what they come to is decided here.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from pylon.monitor.collectors.counters import SHORTEST_INTERVAL_S, Meter
from pylon.monitor.status.cpu import CgroupSample, CPUSample, ProcessTreeSample, TopProcess
from pylon.monitor.status.values import Absence, Side, value_or_none

Row = TypeVar("Row")

# These pass data on to disks that are counted themselves, or are memory.
_VIRTUAL_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd")
_NVME_PATH = re.compile(r"nvme([0-9]+)c[0-9]+n([0-9]+)")
# Of a core's clock against the monotonic one, in a virtual machine that was kept waiting.
_LEEWAY_S = 5.0
# Of the time that has passed, a core counts this share at least as busy or idle.
_LEAST_COUNTED = 0.25


class CoreTimes(NamedTuple):
    """CPU seconds of one core since boot."""

    busy_s: float
    idle_s: float


class Utilisation(NamedTuple):
    """Of all cores, and of each: percent; None for a core whose share is unknown."""

    total: float
    cores: tuple[float | None, ...]


class Memory(NamedTuple):
    """Bytes, or why what is used and available is not known."""

    used: int | Absence
    available: int | Absence
    total: int


class Swap(NamedTuple):
    """Bytes."""

    used: int
    total: int


Rates = tuple[float | Absence, float | Absence]


class UtilisationMeter:
    """Compares readings of the cores' times."""

    def __init__(self) -> None:
        self._former: tuple[float, Mapping[Hashable, CoreTimes]] | None = None
        self._utilisation: Utilisation | Absence = Absence.STARTING

    @property
    def core_count(self) -> int | None:
        """Cores that were online at the last reading."""
        return len(self._former[1]) if self._former else None

    def read(
        self, now_s: float | None, times: Mapping[Hashable, CoreTimes] | Absence
    ) -> Utilisation | Absence:
        """Utilisation since the reading before; STARTING in the first, and if cores came or went.

        Args:
            now_s: monotonic time of the reading; None if the machine has no such clock.
            times: of each core that is online, or why they are unknown.
        """
        if now_s is None or isinstance(times, Absence):
            self._former = None
            self._utilisation = times if isinstance(times, Absence) else Absence.UNSUPPORTED
            return self._utilisation
        if self._former is not None and now_s - self._former[0] < SHORTEST_INTERVAL_S:
            return self._utilisation
        former, self._former = self._former, (now_s, times)
        if former is None or former[1].keys() != times.keys():
            self._utilisation = Absence.STARTING
        else:
            before = [former[1][name] for name in times]
            self._utilisation = compared(before, list(times.values()), now_s - former[0])
        return self._utilisation


def compared(
    former: Sequence[CoreTimes], newer: Sequence[CoreTimes], elapsed_s: float
) -> Utilisation | Absence:
    """Utilisation between two readings that are `elapsed_s` apart.

    STARTING if they have other cores or counters went back; UNSUPPORTED if the counters stand still.
    """
    if len(former) != len(newer):
        return Absence.STARTING
    busy_s = all_s = 0.0
    still = 0
    cores: list[float | None] = []
    for old, new in zip(former, newer, strict=True):
        busy = new.busy_s - old.busy_s
        # The kernel lets idle and iowait go back a little (proc(5)): that is no time at all.
        idle = max(0.0, new.idle_s - old.idle_s)
        # Less time than has passed: a container's file system that makes up one of the two counts.
        if busy >= 0 and busy + idle < _LEAST_COUNTED * elapsed_s - SHORTEST_INTERVAL_S:
            still += 1
            cores.append(None)
            continue
        # More time than has passed: one core went and another came, and this is the difference of both.
        if busy < 0 or not 0 < busy + idle <= 2 * elapsed_s + _LEEWAY_S:
            cores.append(None)
            continue
        busy_s, all_s = busy_s + busy, all_s + busy + idle
        cores.append(100.0 * busy / (busy + idle))
    if all_s:
        return Utilisation(100.0 * busy_s / all_s, tuple(cores))
    return Absence.UNSUPPORTED if still == len(newer) > 0 else Absence.STARTING


class Traffic:
    """Bytes in and out per second over several devices together."""

    def __init__(self) -> None:
        self._inward = Meter[str]()
        self._outward = Meter[str]()

    def rates(self, now_s: float, counters: Mapping[str, tuple[int, int]]) -> Rates:
        """Rates since the reading before.

        Args:
            now_s: monotonic time of the reading.
            counters: bytes in and out of each device that counts.
        """
        # A machine whose devices cannot be seen is not one that moves no bytes.
        if not counters:
            return Absence.UNSUPPORTED, Absence.UNSUPPORTED
        return (
            self._inward.rate(now_s, {name: both[0] for name, both in counters.items()}),
            self._outward.rate(now_s, {name: both[1] for name, both in counters.items()}),
        )


def counted_disks(names: Iterable[str], hardware: Callable[[str], bool | None]) -> tuple[str, ...]:
    """The disks whose traffic counts: the physical ones; without any, those that do not pass it on.

    Args:
        names: of all that have counters.
        hardware: whether there is hardware behind one; None if the kernel does not list it as a disk.
    """
    listed = [(name, hardware(name)) for name in names]
    physical = tuple(name for name, real in listed if real)
    return physical or tuple(
        name for name, real in listed if real is False and not name.startswith(_VIRTUAL_DISKS)
    )


def without_paths(counters: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """The counters of disks without those of the paths to an NVMe disk that counts the same bytes itself.

    Kernels before 6.2 count them at the paths only.
    """
    kept = dict(counters)
    for name in counters:
        path = _NVME_PATH.fullmatch(name)
        if path is not None and any(counters.get(f"nvme{path[1]}n{path[2]}", ())):
            del kept[name]
    return kept


def counted_cards(names: Iterable[str], hardware: Callable[[str], bool | None]) -> tuple[str, ...]:
    """The network cards whose traffic counts: the physical ones; without any, all but the loopback."""
    names = tuple(names)
    physical = tuple(name for name in names if hardware(name))
    return physical or tuple(name for name in names if name != "lo")


def busiest(
    rows: Iterable[Row], used: Callable[[Row], float], held: Callable[[Row], int], most: int
) -> list[Row]:
    """The `most` busiest: half of them by CPU time that was `used`, the rest by memory that is `held`."""
    rows = list(rows)
    by_cpu = sorted((row for row in rows if used(row) > 0), key=used, reverse=True)[: most // 2]
    named = {id(row) for row in by_cpu}
    others = sorted((row for row in rows if id(row) not in named), key=held, reverse=True)
    return (by_cpu + others)[:most]


@dataclass(frozen=True, slots=True)
class HostReadings:
    """What was read of a host at one time; a reason in place of each part that could not be read.

    `others_hidden`: the list of processes lacks those of other users.
    """

    utilisation: Utilisation | Absence
    load: tuple[float, float, float] | Absence
    memory: Memory | Absence
    swap: Swap | Absence
    disk: Rates
    net: Rates
    cgroup: CgroupSample | Absence
    run: ProcessTreeSample | Absence
    top_processes: tuple[TopProcess, ...] | Absence
    others_hidden: bool = False


def host_sample(
    readings: HostReadings,
    side: Side,
    times_s: tuple[float, float],
    slow_monotonic_s: float | None,
    top_monotonic_s: float | None,
) -> CPUSample:
    """The readings as a sample.

    Args:
        readings: of one time.
        side: where they were taken.
        times_s: that time on this machine's monotonic and wall clock.
        slow_monotonic_s: when what is slow was read.
        top_monotonic_s: when the list of processes was made.
    """
    absent: dict[str, Absence] = {}
    busy = value_or_none(absent, readings.utilisation, "cpu_percent", "core_percent")
    loads = value_or_none(absent, readings.load, "load_1m", "load_5m", "load_15m")
    memory = value_or_none(
        absent, readings.memory, "memory_used_bytes", "memory_available_bytes", "memory_total_bytes"
    )
    swap = value_or_none(absent, readings.swap, "swap_used_bytes", "swap_total_bytes")
    return CPUSample(
        monotonic_s=times_s[0],
        wall_time_s=times_s[1],
        slow_monotonic_s=slow_monotonic_s,
        cpu_percent=busy and busy.total,
        core_percent=busy and busy.cores,
        load_1m=loads and loads[0],
        load_5m=loads and loads[1],
        load_15m=loads and loads[2],
        memory_used_bytes=memory and value_or_none(absent, memory.used, "memory_used_bytes"),
        memory_available_bytes=memory and value_or_none(absent, memory.available, "memory_available_bytes"),
        memory_total_bytes=memory and memory.total,
        swap_used_bytes=swap and swap.used,
        swap_total_bytes=swap and swap.total,
        disk_read_bytes_per_s=value_or_none(absent, readings.disk[0], "disk_read_bytes_per_s"),
        disk_write_bytes_per_s=value_or_none(absent, readings.disk[1], "disk_write_bytes_per_s"),
        net_received_bytes_per_s=value_or_none(absent, readings.net[0], "net_received_bytes_per_s"),
        net_sent_bytes_per_s=value_or_none(absent, readings.net[1], "net_sent_bytes_per_s"),
        cgroup=value_or_none(absent, readings.cgroup, "cgroup"),
        run=value_or_none(absent, readings.run, "run"),
        top_processes=value_or_none(absent, readings.top_processes, "top_processes"),
        others_hidden=readings.others_hidden,
        top_monotonic_s=top_monotonic_s,
        absent=absent,
        side=side,
    )
