"""The host's processors, memory, disks and network: the door to psutil's figures of the machine."""

from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any

import psutil

from pylon.monitor.collectors import meminfo
from pylon.monitor.collectors.attempts import Value, attempt
from pylon.monitor.collectors.host_figures import (
    CoreTimes,
    Memory,
    Rates,
    Swap,
    Traffic,
    Utilisation,
    UtilisationMeter,
    counted_cards,
    counted_disks,
    without_paths,
)
from pylon.monitor.collectors.proc import content
from pylon.monitor.status.values import Absence


class HostReader:
    """Reads the host.

    Args:
        sys_root: '/sys', or a recorded tree: shows which disks and network cards are physical.
        proc_root: '/proc', or a recorded tree, of memory: psutil refuses all of it for one line.
    """

    def __init__(self, sys_root: Path = Path("/sys"), proc_root: Path = Path("/proc")) -> None:
        self._meminfo_path = f"{proc_root}/meminfo"
        self._cores = UtilisationMeter()
        self._disks = _Devices(sys_root / "block", counted_disks)
        self._cards = _Devices(sys_root / "class/net", counted_cards)
        self._disk_traffic = Traffic()
        self._net_traffic = Traffic()

    @property
    def core_count(self) -> int | None:
        """Cores that were online at the last reading."""
        return self._cores.core_count

    def utilisation(self, now_s: float) -> Utilisation | Absence:
        """Since the reading before; STARTING in the first, and if cores came or went."""
        return self._cores.read(now_s, attempt(_core_times))

    def load(self) -> tuple[float, float, float] | Absence:
        """Mean run queue over 1, 5 and 15 minutes."""
        return attempt(psutil.getloadavg)

    def memory(self) -> Memory | Absence:
        """Of the machine."""
        return self._meminfo(meminfo.memory)

    def swap(self) -> Swap | Absence:
        """Of the machine."""
        return self._meminfo(meminfo.swap)

    def _meminfo(self, parse: Callable[[list[str]], Value | Absence]) -> Value | Absence:
        text = attempt(lambda: content(self._meminfo_path))
        if isinstance(text, Absence):
            return text
        return parse(text.decode("ascii", errors="replace").splitlines())

    def disk_rates(self, now_s: float) -> Rates:
        """Bytes read and written per second."""
        # psutil's own total counts a disk again in each volume on it, and asks /sys for each each time.
        counters = attempt(lambda: psutil.disk_io_counters(perdisk=True, nowrap=False))
        if isinstance(counters, Absence):
            return counters, counters
        names = self._disks.counted(counters)
        moved = {name: (counters[name].read_bytes, counters[name].write_bytes) for name in names}
        return self._disk_traffic.rates(now_s, without_paths(moved))

    def net_rates(self, now_s: float) -> Rates:
        """Bytes received and sent per second."""
        counters = attempt(lambda: psutil.net_io_counters(pernic=True, nowrap=False))
        if isinstance(counters, Absence):
            return counters, counters
        names = self._cards.counted(counters)
        moved = {name: (counters[name].bytes_recv, counters[name].bytes_sent) for name in names}
        return self._net_traffic.rates(now_s, moved)


class _Devices:
    """Which of the kernel's devices count, looked up again only if their names change."""

    def __init__(
        self,
        folder: Path,
        choose: Callable[[Iterable[str], Callable[[str], bool | None]], tuple[str, ...]],
    ) -> None:
        self._folder = folder
        self._choose = choose
        self._names: tuple[str, ...] | None = None
        self._counted: tuple[str, ...] = ()

    def counted(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of `names` that count."""
        now = tuple(names)
        if now != self._names:
            self._names, self._counted = now, self._choose(now, self._hardware)
        return self._counted

    def _hardware(self, name: str) -> bool | None:
        if (self._folder / name / "device").exists():
            # A virtual machine's card may be a second one in front of the real one, which has it as master.
            return not (self._folder / name / "master/device").exists()
        return False if (self._folder / name).exists() else None


def _core_times() -> dict[Hashable, CoreTimes]:
    # The list has no numbers of cores: if its length changes, it is unknown which is which.
    return {place: _split(times) for place, times in enumerate(psutil.cpu_times(percpu=True))}


def _split(times: Any) -> CoreTimes:  # noqa: ANN401 - psutil's fields depend on the kernel
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Time of guests is in user and nice already (proc(5)).
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return CoreTimes(sum(times) - guests - idle, idle)
