"""Host, control group and the run's own processes in one sample.

Three tiers: what is cheap every time, swap, limits and descriptors every `slow_interval_s`, and three
readings whose cost grows with the host or the run (the list of all processes, proportional set sizes,
new members) as rarely as keeps each to a thousandth of a core.
"""

import time
from collections.abc import Callable
from pathlib import Path

from pylon.monitor.collectors.cgroup.local import CgroupReader
from pylon.monitor.collectors.counters import Pace
from pylon.monitor.collectors.host import HostReader
from pylon.monitor.collectors.host_figures import HostReadings, Swap, host_sample
from pylon.monitor.collectors.processes.pss import PssReader
from pylon.monitor.collectors.processes.top import TopProcesses
from pylon.monitor.collectors.processes.tree import ProcessTree
from pylon.monitor.status.cpu import CPUSample, ProcessTreeSample, TopProcess
from pylon.monitor.status.values import Absence, Side

_NEW_MEMBERS_EVERY_S = 5.0
_FIRST = 1


class CPUCollector:
    """Reads this machine.

    Args:
        run_pid: the watched run; its descendants belong to it.
        left_out_pid: the monitors' own process; it and its descendants are no part of the run.
        slow_interval_s: seconds between readings of what is slow.
        proc_root, cgroup_root: roots of the kernel's trees for processes and control groups.
        clock, wall_clock: seconds; the monotonic one gives rates.
    """

    def __init__(
        self,
        run_pid: int,
        left_out_pid: int | None = None,
        *,
        slow_interval_s: float = 10.0,
        proc_root: Path = Path("/proc"),
        cgroup_root: Path = Path("/sys/fs/cgroup"),
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._host = HostReader()
        self._cgroup = CgroupReader(run_pid, proc_root, cgroup_root)
        self._tree = ProcessTree(run_pid, left_out_pid, PssReader(slow_interval_s), proc_root)
        self._top = TopProcesses()
        self._slow_pace = Pace(slow_interval_s)
        self._all_pace = Pace(slow_interval_s)
        self._new_pace = Pace(min(_NEW_MEMBERS_EVERY_S, slow_interval_s))
        self._slow_s: float | None = None
        self._swap: Swap | Absence = Absence.STARTING
        self._top_processes: tuple[TopProcess, ...] | Absence = Absence.STARTING
        self._top_s: float | None = None
        self._others_hidden = False

    def collect(self) -> CPUSample:
        """One reading. What cannot be read is absent with a reason."""
        now = self._clock()
        slow = self._slow_pace.due(now)
        if slow:
            self._slow_pace.took(now, 0.0)
            self._slow_s, self._swap = now, self._host.swap()
        utilisation = self._host.utilisation(now)
        run = self._run(now, slow=slow)
        readings = HostReadings(
            utilisation=utilisation,
            load=self._host.load(),
            memory=self._host.memory(),
            swap=self._swap,
            disk=self._host.disk_rates(now),
            net=self._host.net_rates(now),
            cgroup=self._cgroup.read(now, self._host.core_count, slow=slow),
            run=run,
            top_processes=self._top_processes,
            others_hidden=self._others_hidden,
        )
        return host_sample(readings, Side.LOCAL, (now, self._wall_clock()), self._slow_s, self._top_s)

    def _run(self, now: float, *, slow: bool) -> ProcessTreeSample | Absence:
        lost = self._tree.locate_run()
        self._walk(now)
        return lost or self._tree.read(now, slow=slow)

    def _walk(self, now: float) -> None:
        """Find the run's processes: among all when it is time for their list, else among the new ones."""
        before_s = time.thread_time()
        if self._all_pace.due(now):
            stats = self._tree.find_all()
            self._top_processes = self._top.rank(now, stats, self._tree.pids) if stats else Absence.DENIED
            # With /proc's hidepid, a user cannot even read the first process; each namespace has one.
            self._others_hidden = bool(stats) and _FIRST not in stats
            self._top_s = now
            self._all_pace.took(now, time.thread_time() - before_s)
            self._new_pace.took(now, 0.0)
        elif self._new_pace.due(now):
            self._tree.find_new()
            self._new_pace.took(now, time.thread_time() - before_s)
