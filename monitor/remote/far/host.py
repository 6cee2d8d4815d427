"""The host's figures in frames, compared with the frame before: what HostReader is for a local one."""

from collections.abc import Mapping

from pylon.monitor.collectors.counters import SHORTEST_INTERVAL_S, Meter, known
from pylon.monitor.collectors.host import VIRTUAL_DISKS, CoreTimes, Utilisation, compared
from pylon.monitor.remote.far import sections
from pylon.monitor.remote.far.cgroup import RemoteCgroup
from pylon.monitor.remote.far.frames import Frame
from pylon.monitor.remote.far.sections import Devices, parsed
from pylon.monitor.status.cpu import CPUSample, TopProcess
from pylon.monitor.status.values import Absence

_RATES = (
    ("disk_read_bytes_per_s", "disk_write_bytes_per_s"),
    ("net_received_bytes_per_s", "net_sent_bytes_per_s"),
)


class RemoteHost:
    """Reads the frames of one server since it was started.

    All comparisons are on the server's own clock: how long a frame was under way changes no rate.
    """

    def __init__(self) -> None:
        self._cores: tuple[float, dict[str, CoreTimes]] | None = None
        self._utilisation: Utilisation | Absence = Absence.STARTING
        self._devices: Devices | Absence = Absence.STARTING
        self._meters = tuple((Meter[str](), Meter[str]()) for _ in _RATES)
        self._cgroup = RemoteCgroup()
        self._slow_s: float | None = None
        self._top: tuple[TopProcess, ...] | Absence = Absence.STARTING
        self._top_told: tuple[str, ...] | None = None
        self._top_s: float | None = None

    def sample(self, frame: Frame, received_s: float, wall_time_s: float) -> CPUSample:
        """The host's figures in `frame`. What is not in it, or cannot be read, is absent with a reason."""
        told, absent, now = frame.sections, dict[str, Absence](), frame.uptime_s
        if "devices" in told:
            self._devices, self._slow_s = parsed(told["devices"], sections.devices), received_s
        busy = known(absent, self._busy(now, told.get("stat")), "cpu_percent", "core_percent")
        loads = known(absent, parsed(told.get("loadavg"), sections.load), "load_1m", "load_5m", "load_15m")
        memory = known(
            absent,
            parsed(told.get("meminfo"), sections.memory),
            *("memory_used_bytes", "memory_available_bytes", "memory_total_bytes"),
        )
        swap = known(
            absent, parsed(told.get("meminfo"), sections.swap), "swap_used_bytes", "swap_total_bytes"
        )
        disk = self._rates(now, 0, parsed(told.get("disk"), sections.disk_bytes))
        net = self._rates(now, 1, parsed(told.get("net"), sections.net_bytes))
        cores = len(self._cores[1]) if self._cores else None
        self._read_top(told.get("top"), now, received_s)
        # There is no run of ours there: its fields are none of that machine's.
        absent["run"] = Absence.UNSUPPORTED
        return CPUSample(
            monotonic_s=received_s,
            wall_time_s=wall_time_s,
            slow_monotonic_s=self._slow_s,
            cpu_percent=busy and busy.total,
            core_percent=busy and busy.cores,
            load_1m=loads and loads[0],
            load_5m=loads and loads[1],
            load_15m=loads and loads[2],
            memory_used_bytes=memory and memory.used,
            memory_available_bytes=memory and memory.available,
            memory_total_bytes=memory and memory.total,
            swap_used_bytes=swap and swap.used,
            swap_total_bytes=swap and swap.total,
            disk_read_bytes_per_s=known(absent, disk[0], "disk_read_bytes_per_s"),
            disk_write_bytes_per_s=known(absent, disk[1], "disk_write_bytes_per_s"),
            net_received_bytes_per_s=known(absent, net[0], "net_received_bytes_per_s"),
            net_sent_bytes_per_s=known(absent, net[1], "net_sent_bytes_per_s"),
            cgroup=known(absent, self._cgroup.read(now, told.get("cgroup"), cores), "cgroup"),
            top_processes=known(absent, self._top, "top_processes"),
            top_monotonic_s=self._top_s,
            absent=absent,
        )

    def _busy(self, now_s: float | None, lines: tuple[str, ...] | None) -> Utilisation | Absence:
        times = parsed(lines, sections.core_times)
        if now_s is None or isinstance(times, Absence):
            self._cores = None
            return times if isinstance(times, Absence) else Absence.UNSUPPORTED
        if self._cores is not None and now_s - self._cores[0] < SHORTEST_INTERVAL_S:
            return self._utilisation
        former, self._cores = self._cores, (now_s, times)
        # Of cores that came or went, the others' list says nothing.
        if former is None or former[1].keys() != times.keys():
            self._utilisation = Absence.STARTING
        else:
            self._utilisation = compared(
                [former[1][name] for name in times], list(times.values()), now_s - former[0]
            )
        return self._utilisation

    def _rates(
        self, now_s: float | None, kind: int, counters: dict[str, tuple[int, int]] | Absence
    ) -> tuple[float | Absence, float | Absence]:
        if isinstance(counters, Absence):
            return counters, counters
        if now_s is None:
            return Absence.UNSUPPORTED, Absence.UNSUPPORTED
        if isinstance(self._devices, Absence):
            return self._devices, self._devices
        names = (
            _real_disks(self._devices.disks, counters)
            if kind == 0
            else _real_cards(self._devices.cards, counters)
        )
        if not names:
            return Absence.UNSUPPORTED, Absence.UNSUPPORTED
        inward, outward = self._meters[kind]
        return (
            inward.rate(now_s, {name: counters[name][0] for name in names}),
            outward.rate(now_s, {name: counters[name][1] for name in names}),
        )

    def _read_top(self, lines: tuple[str, ...] | None, now_s: float | None, received_s: float) -> None:
        if lines is None or lines == self._top_told:
            return
        self._top_told = lines
        found = parsed(lines, sections.top_processes)
        if isinstance(found, Absence):
            self._top, self._top_s = found, None
            return
        made_s, self._top = found
        age_s = 0.0 if now_s is None or made_s is None else max(0.0, now_s - made_s)
        self._top_s = received_s - age_s


def _real_disks(disks: Mapping[str, bool], counters: Mapping[str, object]) -> list[str]:
    """As a local reader chooses: those with hardware behind them, or else what is no mere passing on."""
    return [name for name in counters if disks.get(name)] or [
        name for name in counters if name in disks and not name.startswith(VIRTUAL_DISKS)
    ]


def _real_cards(cards: Mapping[str, bool], counters: Mapping[str, object]) -> list[str]:
    return [name for name in counters if cards.get(name)] or [name for name in counters if name != "lo"]
