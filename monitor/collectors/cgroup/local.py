"""Limits and use of a control group, versions 1 and 2.

In a container psutil tells the host's figures; what binds the run stands here. Sources: Linux
kernel documentation, admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/.
"""

import os
from pathlib import Path

from pylon.monitor.collectors.cgroup.limits import SlowFigures, read_slow_figures
from pylon.monitor.collectors.cgroup.paths import Group, Groups
from pylon.monitor.collectors.counters import Meter, known, reason
from pylon.monitor.collectors.kernel_files import content, entry, number, pairs
from pylon.monitor.status.cpu import CgroupSample
from pylon.monitor.status.values import Absence


class CgroupReader:
    """Reads the control group of one process; once that has ended, the group it was last seen in.

    Args:
        pid: the process.
        proc_root: '/proc', or a recorded tree.
        cgroup_root: '/sys/fs/cgroup', or a recorded tree.
    """

    def __init__(self, pid: int, proc_root: Path, cgroup_root: Path) -> None:
        self._process = f"{proc_root}/{pid}"
        self._root = str(cgroup_root)
        self._membership: bytes | None = None
        self._groups: Groups | None = None
        self._slow: SlowFigures | None = None
        self._used = Meter[str]()
        self._periods = Meter[str]()
        self._throttled = Meter[str]()

    def read(self, now_s: float, host_cores: int | None, *, slow: bool) -> CgroupSample | Absence:
        """One reading.

        Args:
            now_s: monotonic time.
            host_cores: cores that are online.
            slow: find the group anew, and read limits, peak and pressure too. Otherwise those are
                the former ones.
        """
        lost = self._find() if slow or not self._is_there() else None
        if self._groups is None:
            return lost or Absence.UNSUPPORTED
        memory, cpu = self._groups.of("memory"), self._groups.of("cpu")
        accounting = self._groups.of("cpuacct")
        if memory is None and cpu is None:
            return Absence.UNSUPPORTED
        if not self._is_there():
            return Absence.LOST
        if slow or self._slow is None:
            self._slow = read_slow_figures(self._groups)
        return self._sample(now_s, host_cores, self._slow, (memory, cpu, accounting))

    def _is_there(self) -> bool:
        """Whether the group that was found has not been removed since."""
        if self._groups is None:
            return False
        group = self._groups.of("memory") or self._groups.of("cpu")
        return group is not None and os.path.isdir(group.own)  # noqa: PTH112 - a string, each second

    def _find(self) -> Absence | None:
        try:
            membership = content(f"{self._process}/cgroup")
        except OSError as error:
            there = os.path.exists(self._process)  # noqa: PTH110 - a string
            return reason(error) if there else Absence.LOST
        if membership != self._membership or not self._is_there():
            self._membership, self._groups = membership, Groups(membership, self._root)
            self._slow = None
        return None

    def _sample(
        self,
        now_s: float,
        host_cores: int | None,
        slow: SlowFigures,
        groups: tuple[Group | None, Group | None, Group | None],
    ) -> CgroupSample:
        memory, cpu, accounting = groups
        absent: dict[str, Absence] = {}
        used = _memory_used(memory, memory.own if memory else None)
        memory_limit = known(absent, slow.memory, "memory_limit_bytes")
        quota = known(absent, slow.quota, "cpu_limit_cores")
        limit_used: int | Absence | None = None
        if isinstance(slow.memory, Absence):
            limit_used = slow.memory
        elif slow.memory.level is not None:
            own = memory is not None and slow.memory.level == memory.own
            limit_used = used if own else _memory_used(memory, slow.memory.level)
        cpu_used_s = _cpu_used_s(accounting)
        if accounting is None or isinstance(cpu_used_s, Absence):
            cores: float | Absence = cpu_used_s
        else:
            cores = self._used.rate(now_s, {accounting.own: cpu_used_s})
        throttled_at = (quota and quota.level) or (cpu.own if cpu else "")
        periods, throttled_periods, throttled_s = _throttling(cpu, throttled_at)
        throttled_percent = self._throttled_percent(now_s, throttled_at, periods, throttled_periods)
        return CgroupSample(
            version=(memory or cpu or accounting or Group(2, ("",))).version,
            memory_used_bytes=known(absent, used, "memory_used_bytes"),
            memory_limit_bytes=None
            if memory_limit is None or memory_limit.value is None
            else int(memory_limit.value),
            memory_limit_used_bytes=known(absent, limit_used, "memory_limit_used_bytes"),
            memory_peak_bytes=known(absent, slow.peak, "memory_peak_bytes"),
            cpu_limit_cores=None if quota is None else quota.value,
            cpuset_cores=known(absent, slow.cpuset_cores, "cpuset_cores"),
            cpu_used_s=known(absent, cpu_used_s, "cpu_used_s"),
            cpu_used_cores=known(absent, cores, "cpu_used_cores"),
            cpu_percent=known(absent, _share_of_allowed(cores, slow, host_cores), "cpu_percent"),
            periods=known(absent, periods, "periods"),
            throttled_periods=known(absent, throttled_periods, "throttled_periods"),
            throttled_s=known(absent, throttled_s, "throttled_s"),
            throttled_percent=known(absent, throttled_percent, "throttled_percent"),
            oom_kills=known(absent, _oom_kills(memory), "oom_kills"),
            cpu_pressure_percent=known(absent, slow.pressure[0], "cpu_pressure_percent"),
            memory_pressure_percent=known(absent, slow.pressure[1], "memory_pressure_percent"),
            io_pressure_percent=known(absent, slow.pressure[2], "io_pressure_percent"),
            absent=absent,
        )

    def _throttled_percent(
        self, now_s: float, level: str, periods: int | Absence, throttled: int | Absence
    ) -> float | Absence | None:
        if isinstance(periods, Absence) or isinstance(throttled, Absence):
            return periods if isinstance(periods, Absence) else Absence.UNSUPPORTED
        passed = self._periods.rate(now_s, {level: periods})
        ran_out = self._throttled.rate(now_s, {level: throttled})
        if isinstance(passed, Absence) or isinstance(ran_out, Absence):
            return Absence.STARTING
        return 100.0 * ran_out / passed if passed else None


def _memory_used(group: Group | None, level: str | None) -> int | Absence:
    if group is None or level is None:
        return Absence.UNSUPPORTED
    return number(f"{level}/{group.named('memory.current', 'memory.usage_in_bytes')}")


def _oom_kills(group: Group | None) -> int | Absence:
    if group is None:
        return Absence.UNSUPPORTED
    return entry(pairs(f"{group.own}/{group.named('memory.events', 'memory.oom_control')}"), b"oom_kill")


def _cpu_used_s(group: Group | None) -> float | Absence:
    if group is None:
        return Absence.UNSUPPORTED
    if group.version == 1:
        used = number(f"{group.own}/cpuacct.usage")
        return used if isinstance(used, Absence) else used / 1e9
    used = entry(pairs(f"{group.own}/cpu.stat"), b"usage_usec")
    return used if isinstance(used, Absence) else used / 1e6


def _throttling(group: Group | None, level: str) -> tuple[int | Absence, int | Absence, float | Absence]:
    """Periods, throttled ones and throttled seconds, of the level whose quota binds."""
    if group is None:
        return (Absence.UNSUPPORTED,) * 3
    stat = pairs(f"{level}/cpu.stat")
    name, unit = (b"throttled_usec", 1e6) if group.version == 2 else (b"throttled_time", 1e9)
    waited = entry(stat, name)
    seconds = waited if isinstance(waited, Absence) else waited / unit
    return entry(stat, b"nr_periods"), entry(stat, b"nr_throttled"), seconds


def _share_of_allowed(cores: float | Absence, slow: SlowFigures, host_cores: int | None) -> float | Absence:
    """Percent of the least of quota, cpuset and the host's cores."""
    if isinstance(cores, Absence):
        return cores
    quota = None if isinstance(slow.quota, Absence) else slow.quota.value
    cpuset = None if isinstance(slow.cpuset_cores, Absence) else slow.cpuset_cores
    allowed = [one for one in (quota, cpuset, host_cores) if one]
    return 100.0 * cores / min(allowed) if allowed else Absence.UNSUPPORTED
