"""The host's figures in frames, compared with the frame before: what HostReader is for this machine."""

from collections.abc import Callable, Mapping

from pylon.monitor.collectors.host_figures import (
    HostReadings,
    Rates,
    Traffic,
    UtilisationMeter,
    counted_cards,
    counted_disks,
    host_sample,
    without_paths,
)
from pylon.monitor.collectors.meminfo import memory, swap
from pylon.monitor.remote.far import sections
from pylon.monitor.remote.far.cgroup import RemoteCgroup
from pylon.monitor.remote.far.frames import Frame
from pylon.monitor.remote.far.sections import Devices, Lines, parsed
from pylon.monitor.status.cpu import CPUSample, TopProcess
from pylon.monitor.status.values import Absence, Side

_Counters = Mapping[str, tuple[int, int]]


class RemoteHost:
    """Reads the frames of one server since it was started.

    All comparisons are on the server's own clock: how long a frame was under way changes no rate.
    """

    def __init__(self) -> None:
        self._cores = UtilisationMeter()
        self._devices: Devices | Absence = Absence.STARTING
        self._disk_traffic = Traffic()
        self._net_traffic = Traffic()
        self._cgroup = RemoteCgroup()
        self._slow_s: float | None = None
        self._top: tuple[TopProcess, ...] | Absence = Absence.STARTING
        self._top_hidden = False
        self._top_lines: Lines | None = None
        self._top_s: float | None = None

    def sample(self, frame: Frame, received_s: float, wall_time_s: float) -> CPUSample:
        """The host's figures in `frame`. What is not in it, or cannot be read, is absent with a reason."""
        found, now, slow = frame.sections, frame.uptime_s, "devices" in frame.sections
        if slow:
            self._devices, self._slow_s = parsed(found["devices"], sections.devices), received_s
        self._read_top(found.get("top"), now, received_s)
        utilisation = self._cores.read(now, parsed(found.get("stat"), sections.core_times))
        readings = HostReadings(
            utilisation=utilisation,
            load=parsed(found.get("loadavg"), sections.load),
            memory=parsed(found.get("meminfo"), memory),
            swap=parsed(found.get("meminfo"), swap),
            disk=self._rates(
                now,
                self._disk_traffic,
                parsed(found.get("disk"), lambda lines: without_paths(sections.disk_bytes(lines))),
                lambda names, known: counted_disks(names, known.disks.get),
            ),
            net=self._rates(
                now,
                self._net_traffic,
                parsed(found.get("net"), sections.net_bytes),
                lambda names, known: counted_cards(names, known.cards.get),
            ),
            cgroup=self._cgroup.read(now, found.get("cgroup"), self._cores.core_count, slow=slow),
            # There is no run of ours there: its fields are not that machine's.
            run=Absence.UNSUPPORTED,
            top_processes=self._top,
            others_hidden=self._top_hidden,
        )
        return host_sample(readings, Side.REMOTE, (received_s, wall_time_s), self._slow_s, self._top_s)

    def _rates(
        self,
        now_s: float | None,
        traffic: Traffic,
        counters: _Counters | Absence,
        counted: Callable[[_Counters, Devices], tuple[str, ...]],
    ) -> Rates:
        if isinstance(counters, Absence):
            return counters, counters
        if now_s is None:
            return Absence.UNSUPPORTED, Absence.UNSUPPORTED
        if isinstance(self._devices, Absence):
            return self._devices, self._devices
        return traffic.rates(now_s, {name: counters[name] for name in counted(counters, self._devices)})

    def _read_top(self, lines: Lines | None, now_s: float | None, received_s: float) -> None:
        if lines is None or lines == self._top_lines:
            return
        self._top_lines = lines
        found = parsed(lines, sections.top_processes)
        if isinstance(found, Absence):
            self._top, self._top_s = found, None
            return
        made_s, self._top, self._top_hidden = found
        age_s = 0.0 if now_s is None or made_s is None else max(0.0, now_s - made_s)
        self._top_s = received_s - age_s
