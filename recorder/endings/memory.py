"""What the kernel counts when memory runs out, level by level, and how close a run is to its limit."""

import os
import re
import time
from dataclasses import dataclass, field

from pylon.monitor import Absence, MemoryGroup, memory_group

# Version 1 writes "no limit" as the largest page-aligned number.
_UNLIMITED = 2**62
_MOST_BYTES = 65536
_MOST_LOG_BYTES = 4 * 2**20
_HOST_KILLS = re.compile(r"^oom_kill (\d+)$", re.M)
_KILLED = re.compile(rb"Killed process (\d+) \(")
# The first namespace of process ids, in whose numbers the kernel's log is written.
_FIRST_NAMESPACE = "pid:[4026531836]"


@dataclass(frozen=True, slots=True)
class Level:
    """A control group and what is counted in it. None: it is not shown.

    Attributes:
        kills: processes of this very group that the kernel killed for memory. In version 2 `memory.events`
            counts those of the groups below too; `memory.events.local` does not.
        group_kills: how often the kernel killed the whole group.
        limit_hits: how often its own limit was the reason; version 2 alone.
        limit_bytes: None: there is none.
    """

    folder: str
    kills: int | None
    group_kills: int | None
    limit_hits: int | None
    limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class MemoryCounts:
    """One reading.

    Attributes:
        monotonic_s: when.
        levels: of the run's group and those above it; empty if it cannot be seen.
        host_kills: processes that the kernel killed for memory on the whole machine.
        used_bytes, limit_bytes: of the level that is closest to its limit; None: no level has a limit.
        available_bytes, total_bytes: of the machine.
    """

    monotonic_s: float
    levels: tuple[Level, ...] = field(default=())
    host_kills: int | None = None
    used_bytes: int | None = None
    limit_bytes: int | None = None
    available_bytes: int | None = None
    total_bytes: int | None = None

    @property
    def own(self) -> Level | None:
        """The run's own group."""
        return self.levels[0] if self.levels else None

    @property
    def nearness(self) -> float | None:
        """How much of what it may use is used, 0 to 1: of its limit or of the machine, whatever is closer."""
        shares = []
        if self.used_bytes is not None and self.limit_bytes:
            shares.append(self.used_bytes / self.limit_bytes)
        if self.available_bytes is not None and self.total_bytes:
            shares.append(1 - self.available_bytes / self.total_bytes)
        return max(shares, default=None)


class MemoryCounter:
    """Reads the counts of a process's group, also after the process has ended.

    Args:
        pid: the process.
        proc_root, cgroup_root: as of `memory_group`.
    """

    def __init__(self, pid: int, proc_root: str = "/proc", cgroup_root: str = "/sys/fs/cgroup") -> None:
        self._pid = pid
        self._proc_root = proc_root
        self._cgroup_root = cgroup_root
        self._group: MemoryGroup | None = None
        self._limits: dict[str, int | None] = {}

    def find(self) -> MemoryGroup | None:
        """Where the process is now; if it has ended, where it was. It can be moved, and a limit changed."""
        found = memory_group(self._pid, self._proc_root, self._cgroup_root)
        if not isinstance(found, Absence):
            self._group = found
        group = self._group
        self._limits = {} if group is None else {one: _limit(group, one) for one in group.levels}
        return group

    def use(self) -> MemoryCounts:
        """How close it is to a limit, and nothing else: two or three small files."""
        group = self._group
        closest: tuple[int, int] | None = None
        for folder, limit in self._limits.items():
            used = None if limit is None else _number(f"{folder}/{_named(group, 'current')}")
            if limit is None or used is None:
                continue
            if closest is None or used / limit > closest[0] / closest[1]:
                closest = used, limit
        available, total = _host_memory(f"{self._proc_root}/meminfo")
        used, limit = closest or (None, None)
        return MemoryCounts(
            time.monotonic(),
            used_bytes=used,
            limit_bytes=limit,
            available_bytes=available,
            total_bytes=total,
        )

    def read(self) -> MemoryCounts:
        """All counts."""
        group, use = self._group, self.use()
        limits = self._limits.items()
        levels = () if group is None else tuple(_level(group, folder, limit) for folder, limit in limits)
        host_kills = _HOST_KILLS.search(_text(f"{self._proc_root}/vmstat"))
        return MemoryCounts(
            use.monotonic_s,
            levels,
            None if host_kills is None else int(host_kills[1]),
            use.used_bytes,
            use.limit_bytes,
            use.available_bytes,
            use.total_bytes,
        )

    def pressure(self) -> float | None:
        """Share of the last 10 s in which some task waited for memory, in percent; None: it is not shown."""
        group = self._group
        places = [f"{group.levels[0]}/memory.pressure"] if group is not None and group.version == 2 else []
        for place in (*places, f"{self._proc_root}/pressure/memory"):
            text = _text(place)
            if text.startswith("some avg10="):
                try:
                    return float(text.split(None, 2)[1].removeprefix("avg10="))
                except ValueError:
                    return None
        return None


def killed_in_log(since_monotonic_s: float, path: str = "/dev/kmsg") -> list[tuple[int, str]] | None:
    """The processes that the kernel's log names as killed for memory: pid and line.

    Args:
        since_monotonic_s: lines before that do not count.
        path: of the log.

    Returns:
        None if the log cannot be read, or counts processes otherwise than this namespace.
    """
    try:
        if os.readlink("/proc/self/ns/pid") != _FIRST_NAMESPACE:  # noqa: PTH115 - not a path
            return None
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    found = []
    try:
        taken = 0
        while taken < _MOST_LOG_BYTES:
            try:
                record = os.read(descriptor, 8192)
            except BrokenPipeError:
                continue  # the oldest line has just been overwritten
            except OSError:
                break  # that was the last one
            if not record:
                break
            taken += len(record)
            head, _, text = record.partition(b";")
            match = _KILLED.search(text)
            parts = head.split(b",")
            if match is None or len(parts) < 3 or int(parts[2]) / 1e6 < since_monotonic_s:
                continue
            line = text.partition(b"\n")[0].decode("utf-8", "replace")
            found.append((int(match[1]), "".join(one if one.isprintable() else " " for one in line)[:300]))
    finally:
        os.close(descriptor)
    return found


def _level(group: MemoryGroup, folder: str, limit: int | None) -> Level:
    if group.version == 1:
        counts = _pairs(f"{folder}/memory.oom_control")
        return Level(folder, counts.get("oom_kill"), None, None, limit)
    local = _pairs(f"{folder}/memory.events.local")
    # Before Linux 5.2 there is no local file: with groups below it, the count may be theirs.
    counts = local or _pairs(f"{folder}/memory.events")
    return Level(
        folder,
        counts.get("oom_kill"),
        counts.get("oom_group_kill"),
        counts.get("oom") if local else None,
        limit,
    )


def _named(group: MemoryGroup | None, name: str) -> str:
    v1 = {"current": "memory.usage_in_bytes", "max": "memory.limit_in_bytes"}
    return v1[name] if group is not None and group.version == 1 else f"memory.{name}"


def _limit(group: MemoryGroup | None, folder: str) -> int | None:
    limit = _number(f"{folder}/{_named(group, 'max')}")
    return limit if limit is not None and 0 < limit < _UNLIMITED else None


def _host_memory(path: str) -> tuple[int | None, int | None]:
    available = total = None
    for line in _text(path).split("\n", 5)[:5]:
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            if name == "MemTotal":
                total = int(words[0]) * 1024
            elif name == "MemAvailable":
                available = int(words[0]) * 1024
    return available, total


def _number(path: str) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _pairs(path: str) -> dict[str, int]:
    rows = (line.split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isascii() and row[1].isdigit()}


def _text(path: str) -> str:
    """A file's text; empty if it cannot be read. Path.open would take three times as long, each second."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _MOST_BYTES).decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
