"""The host's processors, memory, disks and network: the door to psutil's figures of the machine."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from pylon.monitor.collectors.counters import SHORTEST_INTERVAL_S, Meter, attempt
from pylon.monitor.status.values import Absence

# What has no device of its own, but passes on to others that are counted, or is memory.
VIRTUAL_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd")
# Of a core's clock against the monotonic one, in a virtual machine that was kept waiting.
_LEEWAY_S = 5.0


class CoreTimes(NamedTuple):
    """CPU seconds of one core since boot."""

    busy_s: float
    idle_s: float


class Utilisation(NamedTuple):
    """Of all cores, and of each: percent; None for a core that cannot be told."""

    total: float
    cores: tuple[float | None, ...]


class Memory(NamedTuple):
    """Bytes."""

    used: int
    available: int
    total: int


class Swap(NamedTuple):
    """Bytes."""

    used: int
    total: int


class HostReader:
    """Reads the host.

    Args:
        sys_root: '/sys', or a recorded tree: tells physical disks and network cards from others.
    """

    def __init__(self, sys_root: Path = Path("/sys")) -> None:
        self._cores: tuple[float, list[CoreTimes]] | None = None
        self._utilisation: Utilisation | Absence = Absence.STARTING
        self._disks = _Devices(sys_root / "block")
        self._cards = _Devices(sys_root / "class/net")
        self._disk_rates = (Meter[str](), Meter[str]())
        self._net_rates = (Meter[str](), Meter[str]())

    @property
    def core_count(self) -> int | None:
        """Cores that were online at the last reading."""
        return len(self._cores[1]) if self._cores else None

    def utilisation(self, now_s: float) -> Utilisation | Absence:
        """Since the reading before; STARTING in the first, and where cores came or went."""
        if self._cores is not None and now_s - self._cores[0] < SHORTEST_INTERVAL_S:
            return self._utilisation
        times = attempt(_core_times)
        if isinstance(times, Absence):
            self._cores, self._utilisation = None, times
            return times
        former, self._cores = self._cores, (now_s, times)
        self._utilisation = (
            Absence.STARTING if former is None else compared(former[1], times, now_s - former[0])
        )
        return self._utilisation

    def load(self) -> tuple[float, float, float] | Absence:
        """Mean run queue over 1, 5 and 15 minutes."""
        return attempt(psutil.getloadavg)

    def memory(self) -> Memory | Absence:
        """Of the machine."""
        found = attempt(psutil.virtual_memory)
        if isinstance(found, Absence):
            return found
        return Memory(found.total - found.available, found.available, found.total)

    def swap(self) -> Swap | Absence:
        """Of the machine. Costs twice what `memory` does."""
        found = attempt(psutil.swap_memory)
        return found if isinstance(found, Absence) else Swap(found.used, found.total)

    def disk_rates(self, now_s: float) -> tuple[float | Absence, float | Absence]:
        """Bytes read and written per second."""
        # psutil's own total counts a disk again in each volume on it, and asks /sys for each each time.
        counters = attempt(lambda: psutil.disk_io_counters(perdisk=True, nowrap=False))
        if isinstance(counters, Absence):
            return counters, counters
        names = self._disks.real(counters, _is_base_disk)
        return _rates(
            now_s,
            self._disk_rates,
            {name: counters[name].read_bytes for name in names},
            {name: counters[name].write_bytes for name in names},
        )

    def net_rates(self, now_s: float) -> tuple[float | Absence, float | Absence]:
        """Bytes received and sent per second."""
        counters = attempt(lambda: psutil.net_io_counters(pernic=True, nowrap=False))
        if isinstance(counters, Absence):
            return counters, counters
        names = self._cards.real(counters, _is_no_loopback)
        return _rates(
            now_s,
            self._net_rates,
            {name: counters[name].bytes_recv for name in names},
            {name: counters[name].bytes_sent for name in names},
        )


def compared(former: list[CoreTimes], newer: list[CoreTimes], elapsed_s: float) -> Utilisation | Absence:
    """Utilisation between two readings that are `elapsed_s` apart."""
    # The list has no numbers of cores: where its length changed, nothing says which is which.
    if len(former) != len(newer):
        return Absence.STARTING
    busy_s = all_s = 0.0
    cores: list[float | None] = []
    for old, new in zip(former, newer, strict=True):
        busy = new.busy_s - old.busy_s
        # The kernel lets idle and iowait step back a little (proc(5)): that is no time at all.
        idle = max(0.0, new.idle_s - old.idle_s)
        # More time than has passed: one core went and another came, and this is the difference of both.
        if busy < 0 or not 0 < busy + idle <= 2 * elapsed_s + _LEEWAY_S:
            cores.append(None)
            continue
        busy_s, all_s = busy_s + busy, all_s + busy + idle
        cores.append(100.0 * busy / (busy + idle))
    return Utilisation(100.0 * busy_s / all_s, tuple(cores)) if all_s else Absence.STARTING


class _Devices:
    """Which of the kernel's devices count: the physical ones, where there are any."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: tuple[str, ...] | None = None
        self._real: tuple[str, ...] = ()

    def real(self, names: Iterable[str], stand_in: Callable[[Path, str], bool]) -> tuple[str, ...]:
        """Those with a device behind them; without any, those of the folder that pass `stand_in`."""
        now = tuple(names)
        if now != self._names:
            self._names = now
            physical = tuple(name for name in now if (self._folder / name / "device").exists())
            self._real = physical or tuple(name for name in now if stand_in(self._folder, name))
        return self._real


def _is_base_disk(folder: Path, name: str) -> bool:
    return not name.startswith(VIRTUAL_DISKS) and (folder / name).exists()


def _is_no_loopback(_folder: Path, name: str) -> bool:
    return name != "lo"


def _rates(
    now_s: float,
    meters: tuple[Meter[str], Meter[str]],
    inward: Mapping[str, float],
    outward: Mapping[str, float],
) -> tuple[float | Absence, float | Absence]:
    # A machine whose devices cannot be seen is not one that moves no bytes.
    if not inward:
        return Absence.UNSUPPORTED, Absence.UNSUPPORTED
    return meters[0].rate(now_s, inward), meters[1].rate(now_s, outward)


def _core_times() -> list[CoreTimes]:
    return [_split(times) for times in psutil.cpu_times(percpu=True)]


def _split(times: Any) -> CoreTimes:  # noqa: ANN401 - psutil's fields depend on the kernel
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Time of guests is in user and nice already (proc(5)).
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return CoreTimes(sum(times) - guests - idle, idle)
