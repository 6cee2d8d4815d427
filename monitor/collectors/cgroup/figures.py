"""Use of a control group, versions 1 and 2, from the files of its folders: arithmetic alone.

Sources: Linux kernel documentation, admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/.
"""

from pylon.monitor.collectors.cgroup.files import Group, GroupsOf, Read, entry, number, pairs
from pylon.monitor.collectors.cgroup.limits import Limit, SlowFigures, slow_figures
from pylon.monitor.collectors.counters import Meter
from pylon.monitor.status.cpu import CgroupSample
from pylon.monitor.status.values import Absence, Side, value_or_none

_Throttling = tuple[int | Absence, int | Absence, float | Absence]


class CgroupFigures:
    """Compares readings of one group.

    Args:
        read: content of a file.
        side: where that is.
    """

    def __init__(self, read: Read, side: Side) -> None:
        self._read = read
        self._side = side
        self._slow: SlowFigures | None = None
        self._used = Meter[str]()
        self._periods = Meter[str]()
        self._throttled = Meter[str]()

    @property
    def has_slow(self) -> bool:
        """Whether limits, peak and pressure have been read."""
        return self._slow is not None

    def forget_slow(self) -> None:
        """Limits, peak and pressure that were read belong to another group."""
        self._slow = None

    def sample(
        self, now_s: float | None, host_cores: int | None, groups: GroupsOf, *, slow: bool
    ) -> CgroupSample | Absence:
        """One reading.

        Args:
            now_s: monotonic time of the reading; None if the machine has no such clock.
            host_cores: cores that are online.
            groups: whose figures these are.
            slow: read limits, peak and pressure too. Otherwise those are the former ones.
        """
        memory, cpu, accounting = (groups.of(name) for name in ("memory", "cpu", "cpuacct"))
        seen = memory or cpu
        if seen is None:
            return Absence.UNSUPPORTED
        if slow:
            self._slow = slow_figures(groups, self._read)
        rare = self._slow or SlowFigures()
        absent: dict[str, Absence] = {}
        limit = value_or_none(absent, rare.memory, "memory_limit_bytes")
        quota = value_or_none(absent, rare.quota, "cpu_limit_cores")
        used = self._memory_used(memory, memory.own if memory else "")
        limit_used = self._limit_used(memory, rare.memory, used)
        cpu_used_s = self._cpu_used_s(accounting)
        cores = self._rate(now_s, accounting, cpu_used_s)
        level = (quota and quota.level) or (cpu.own if cpu else "")
        periods, throttled_periods, throttled_s = self._throttling(cpu, level)
        return CgroupSample(
            version=seen.version,
            memory_used_bytes=value_or_none(absent, used, "memory_used_bytes"),
            memory_limit_bytes=None if limit is None or limit.value is None else int(limit.value),
            memory_limit_used_bytes=value_or_none(absent, limit_used, "memory_limit_used_bytes"),
            memory_peak_bytes=value_or_none(absent, rare.peak, "memory_peak_bytes"),
            memory_working_set_bytes=value_or_none(absent, rare.working_set, "memory_working_set_bytes"),
            cpu_limit_cores=None if quota is None else quota.value,
            cpuset_cores=value_or_none(absent, rare.cpuset_cores, "cpuset_cores"),
            cpu_used_s=value_or_none(absent, cpu_used_s, "cpu_used_s"),
            cpu_used_cores=value_or_none(absent, cores, "cpu_used_cores"),
            cpu_percent=value_or_none(absent, _share_of_allowed(cores, rare, host_cores), "cpu_percent"),
            periods=value_or_none(absent, periods, "periods"),
            throttled_periods=value_or_none(absent, throttled_periods, "throttled_periods"),
            throttled_s=value_or_none(absent, throttled_s, "throttled_s"),
            throttled_percent=value_or_none(
                absent, self._throttled_percent(now_s, level, periods, throttled_periods), "throttled_percent"
            ),
            oom_kills=value_or_none(absent, self._oom_kills(memory), "oom_kills"),
            cpu_pressure_percent=value_or_none(absent, rare.pressure[0], "cpu_pressure_percent"),
            memory_pressure_percent=value_or_none(absent, rare.pressure[1], "memory_pressure_percent"),
            io_pressure_percent=value_or_none(absent, rare.pressure[2], "io_pressure_percent"),
            absent=absent,
            side=self._side,
        )

    def _memory_used(self, group: Group | None, level: str) -> int | Absence:
        if group is None:
            return Absence.UNSUPPORTED
        return number(self._read(f"{level}/{group.named('memory.current', 'memory.usage_in_bytes')}"))

    def _limit_used(
        self, group: Group | None, limit: Limit | Absence, used: int | Absence
    ) -> int | Absence | None:
        """What counts against the limit, at the level that sets it; None if there is no limit."""
        if isinstance(limit, Absence) or limit.level is None:
            return limit if isinstance(limit, Absence) else None
        own = group is not None and limit.level == group.own
        return used if own else self._memory_used(group, limit.level)

    def _oom_kills(self, group: Group | None) -> int | Absence:
        if group is None:
            return Absence.UNSUPPORTED
        name = group.named("memory.events", "memory.oom_control")
        return entry(pairs(self._read(f"{group.own}/{name}")), "oom_kill")

    def _cpu_used_s(self, group: Group | None) -> float | Absence:
        if group is None:
            return Absence.UNSUPPORTED
        if group.version == 1:
            used = number(self._read(f"{group.own}/cpuacct.usage"))
            return used if isinstance(used, Absence) else used / 1e9
        used = entry(pairs(self._read(f"{group.own}/cpu.stat")), "usage_usec")
        return used if isinstance(used, Absence) else used / 1e6

    def _rate(self, now_s: float | None, group: Group | None, cpu_used_s: float | Absence) -> float | Absence:
        if isinstance(cpu_used_s, Absence):
            return cpu_used_s
        if group is None or now_s is None:
            return Absence.UNSUPPORTED
        return self._used.rate(now_s, {group.own: cpu_used_s})

    def _throttling(self, group: Group | None, level: str) -> _Throttling:
        """Periods, throttled ones and throttled seconds, of the level whose quota is in force."""
        if group is None:
            return (Absence.UNSUPPORTED,) * 3
        stat = pairs(self._read(f"{level}/cpu.stat"))
        name, unit = ("throttled_usec", 1e6) if group.version == 2 else ("throttled_time", 1e9)
        waited = entry(stat, name)
        seconds = waited if isinstance(waited, Absence) else waited / unit
        return entry(stat, "nr_periods"), entry(stat, "nr_throttled"), seconds

    def _throttled_percent(
        self, now_s: float | None, level: str, periods: int | Absence, throttled: int | Absence
    ) -> float | Absence | None:
        if isinstance(periods, Absence):
            return periods
        if isinstance(throttled, Absence) or now_s is None:
            return Absence.UNSUPPORTED
        passed = self._periods.rate(now_s, {level: periods})
        ran_out = self._throttled.rate(now_s, {level: throttled})
        if isinstance(passed, Absence) or isinstance(ran_out, Absence):
            return Absence.STARTING
        return 100.0 * ran_out / passed if passed else None


def _share_of_allowed(cores: float | Absence, rare: SlowFigures, host_cores: int | None) -> float | Absence:
    """Percent of the least of quota, cpuset and the host's cores."""
    if isinstance(cores, Absence):
        return cores
    quota = None if isinstance(rare.quota, Absence) else rare.quota.value
    cpuset = None if isinstance(rare.cpuset_cores, Absence) else rare.cpuset_cores
    allowed = [one for one in (quota, cpuset, host_cores) if one]
    return 100.0 * cores / min(allowed) if allowed else Absence.UNSUPPORTED
