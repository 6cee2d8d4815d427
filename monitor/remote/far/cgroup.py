"""The control group at the root of what the far shell can see: a container's; a whole machine has none.

A login has a group of its own, which binds no training run there: it is not looked at.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from pylon.monitor.collectors.counters import Meter, known
from pylon.monitor.remote.far.sections import Lines, MalformedError, decimal, parsed, whole
from pylon.monitor.status.cpu import CgroupSample
from pylon.monitor.status.values import Absence

# Version 1 writes "no limit" as the largest page-aligned number.
_V1_UNLIMITED = 2**62
_MOST_CORES = 65536
_SLOW_FILES = frozenset(
    ("memory.max", "memory.peak", "cpu.max", "cpuset.cpus.effective", "cpu.pressure", "memory.pressure")
) | {
    "io.pressure",
    "memory.limit_in_bytes",
    "memory.max_usage_in_bytes",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpuset.effective_cpus",
}

Value = TypeVar("Value")
_Files = Mapping[str, tuple[str, ...]]


class RemoteCgroup:
    """Reads one server's control group in frames. Limits and pressure are told in some of them only."""

    def __init__(self) -> None:
        self._slow: dict[str, tuple[str, ...]] | None = None
        self._used = Meter[str]()
        self._periods = Meter[str]()
        self._throttled = Meter[str]()

    def read(
        self, now_s: float | None, lines: Lines | None, host_cores: int | None
    ) -> CgroupSample | Absence:
        """One reading.

        Args:
            now_s: the far monotonic clock.
            lines: of the frame's section.
            host_cores: cores that are online there.
        """
        files = parsed(lines, _files)
        if isinstance(files, Absence):
            return files
        version = files.pop("version", ("",))
        if version not in (("1",), ("2",)):
            return Absence.UNSUPPORTED
        slow = {name: content for name, content in files.items() if name in _SLOW_FILES}
        if slow:
            self._slow = slow
        try:
            return self._sample(2 if version == ("2",) else 1, files, now_s, host_cores)
        except MalformedError:
            return Absence.UNREACHABLE

    def _sample(
        self, version: int, files: _Files, now_s: float | None, host_cores: int | None
    ) -> CgroupSample:
        v2, absent, slow = version == 2, dict[str, Absence](), self._slow
        stat = _pairs(files.get("cpu.stat"))
        used = _one(files, "memory.current" if v2 else "memory.usage_in_bytes")
        limit = _slow_value(slow, "memory.max" if v2 else "memory.limit_in_bytes", _memory_limit)
        quota = _quota(slow, v2=v2)
        cpuset = _slow_value(slow, "cpuset.cpus.effective" if v2 else "cpuset.effective_cpus", _cpuset_cores)
        cpu_used = stat.get("usage_usec", Absence.UNSUPPORTED) if v2 else _one(files, "cpuacct.usage")
        cpu_used_s = cpu_used if isinstance(cpu_used, Absence) else cpu_used / (1e6 if v2 else 1e9)
        cores: float | Absence = Absence.UNSUPPORTED
        if not isinstance(cpu_used_s, Absence) and now_s is not None:
            cores = self._used.rate(now_s, {"": cpu_used_s})
        elif isinstance(cpu_used_s, Absence):
            cores = cpu_used_s
        periods, throttled_periods, waited = (
            stat.get(name, Absence.UNSUPPORTED)
            for name in ("nr_periods", "nr_throttled", "throttled_usec" if v2 else "throttled_time")
        )
        throttled_s = waited if isinstance(waited, Absence) else waited / (1e6 if v2 else 1e9)
        throttled_percent = self._throttled_percent(now_s, periods, throttled_periods)
        kills = _pairs(files.get("memory.events" if v2 else "memory.oom_control"))
        share = _share_of_allowed(cores, quota, cpuset, host_cores)
        peak = _slow_value(slow, "memory.peak" if v2 else "memory.max_usage_in_bytes", _only)
        # The limit is this group's own: groups above it cannot be seen from there.
        limit_used = limit if isinstance(limit, Absence) else used if limit is not None else None
        pressure = [_slow_value(slow, f"{name}.pressure", _pressure) for name in ("cpu", "memory", "io")]
        return CgroupSample(
            version=version,
            memory_used_bytes=known(absent, used, "memory_used_bytes"),
            memory_limit_bytes=known(absent, limit, "memory_limit_bytes"),
            memory_limit_used_bytes=known(absent, limit_used, "memory_limit_used_bytes"),
            memory_peak_bytes=known(absent, peak, "memory_peak_bytes"),
            cpu_limit_cores=known(absent, quota, "cpu_limit_cores"),
            cpuset_cores=known(absent, cpuset, "cpuset_cores"),
            cpu_used_s=known(absent, cpu_used_s, "cpu_used_s"),
            cpu_used_cores=known(absent, cores, "cpu_used_cores"),
            cpu_percent=known(absent, share, "cpu_percent"),
            periods=known(absent, periods, "periods"),
            throttled_periods=known(absent, throttled_periods, "throttled_periods"),
            throttled_s=known(absent, throttled_s, "throttled_s"),
            throttled_percent=known(absent, throttled_percent, "throttled_percent"),
            oom_kills=known(absent, kills.get("oom_kill", Absence.UNSUPPORTED), "oom_kills"),
            cpu_pressure_percent=known(absent, pressure[0], "cpu_pressure_percent"),
            memory_pressure_percent=known(absent, pressure[1], "memory_pressure_percent"),
            io_pressure_percent=known(absent, pressure[2], "io_pressure_percent"),
            absent=absent,
        )

    def _throttled_percent(
        self, now_s: float | None, periods: int | Absence, throttled: int | Absence
    ) -> float | Absence | None:
        if now_s is None or isinstance(periods, Absence) or isinstance(throttled, Absence):
            return Absence.UNSUPPORTED
        passed = self._periods.rate(now_s, {"": periods})
        ran_out = self._throttled.rate(now_s, {"": throttled})
        if isinstance(passed, Absence) or isinstance(ran_out, Absence):
            return Absence.STARTING
        return 100.0 * ran_out / passed if passed else None


def _files(lines: Lines) -> dict[str, tuple[str, ...]]:
    """The lines of each file, by its name."""
    files: dict[str, tuple[str, ...]] = {}
    for line in lines:
        name, _, content = line.partition(" ")
        files[name] = (*files.get(name, ()), content)
    return files


def _only(content: tuple[str, ...]) -> int:
    if len(content) != 1:
        raise MalformedError("more than one line")
    return whole(content[0])


def _one(files: _Files, name: str) -> int | Absence:
    return _only(files[name]) if name in files else Absence.UNSUPPORTED


def _pairs(content: tuple[str, ...] | None) -> dict[str, int]:
    """Lines 'name number'; others are passed over."""
    rows = (line.split() for line in content or ())
    return {row[0]: whole(row[1]) for row in rows if len(row) == 2}


def _slow_value(slow: _Files | None, name: str, parse: Callable[[tuple[str, ...]], Value]) -> Value | Absence:
    if slow is None:
        return Absence.STARTING
    return parse(slow[name]) if name in slow else Absence.UNSUPPORTED


def _memory_limit(content: tuple[str, ...]) -> int | None:
    """Bytes; None: there is no limit."""
    if content == ("max",):
        return None
    limit = _only(content)
    return limit if limit < _V1_UNLIMITED else None


def _quota(slow: _Files | None, *, v2: bool) -> float | Absence | None:
    """Cores; None: there is no limit."""
    if slow is None:
        return Absence.STARTING
    if v2:
        words = " ".join(slow.get("cpu.max", ())).split()
    else:
        words = [*slow.get("cpu.cfs_quota_us", ()), *slow.get("cpu.cfs_period_us", ())]
    if not words:
        return Absence.UNSUPPORTED
    if words[0] in ("max", "-1"):
        return None
    if len(words) != 2 or whole(words[1]) == 0:
        raise MalformedError("quota")
    return whole(words[0]) / whole(words[1])


def _cpuset_cores(content: tuple[str, ...]) -> int:
    cores = 0
    for part in ",".join(content).split(","):
        first, _, last = part.partition("-")
        begin, end = whole(first), whole(last or first)
        if not begin <= end < _MOST_CORES:
            raise MalformedError(part)
        cores += end - begin + 1
    return cores


def _pressure(content: tuple[str, ...]) -> float:
    words = content[0].split()
    if len(words) < 2 or words[0] != "some" or not words[1].startswith("avg10="):
        raise MalformedError("pressure")
    return decimal(words[1].removeprefix("avg10="))


def _share_of_allowed(
    cores: float | Absence,
    quota: float | Absence | None,
    cpuset: int | Absence,
    host_cores: int | None,
) -> float | Absence:
    """Percent of the least of quota, cpuset and the host's cores."""
    if isinstance(cores, Absence):
        return cores
    allowed = [one for one in (quota, cpuset, host_cores) if one and not isinstance(one, Absence)]
    return 100.0 * cores / min(allowed) if allowed else Absence.UNSUPPORTED
