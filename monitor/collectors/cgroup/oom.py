"""How many processes of a control group the kernel has killed for lack of memory, as evidence of an end."""

import os
from dataclasses import dataclass

from pylon.monitor.collectors.cgroup.files import Group, entry, pairs
from pylon.monitor.collectors.cgroup.paths import Groups
from pylon.monitor.collectors.proc import content
from pylon.monitor.status.values import Absence

_FILES = ("memory.events", "memory.oom_control")


@dataclass(frozen=True, slots=True)
class OOMCount:
    """The OOM kills in one control group.

    Attributes:
        group: folder of the group that accounts the memory.
        inode: of that folder; the kernel gives a group that is made again another one until it restarts.
        kills: processes of the group that were killed for lack of memory since it was made.
    """

    group: str
    inode: int
    kills: int


def own_oom_count(proc_root: str = "/proc", cgroup_root: str = "/sys/fs/cgroup") -> OOMCount | Absence:
    """The OOM kills in the control group of this process, or why they are not known.

    Args:
        proc_root: '/proc', or a recorded tree.
        cgroup_root: '/sys/fs/cgroup', or a recorded tree.
    """
    group = _group_of("self", proc_root, cgroup_root)
    return group if isinstance(group, Absence) else oom_count_in(group.own)


def oom_count_in(group: str) -> OOMCount | Absence:
    """The OOM kills in a control group of version 1 or 2, or why they are not known.

    Args:
        group: its folder.
    """
    found: Absence = Absence.UNSUPPORTED
    for name in _FILES:
        try:
            inode = os.stat(group).st_ino  # noqa: PTH116 - a string, as everywhere in this package
            text = content(f"{group}/{name}").decode("ascii", errors="replace")
        except OSError as error:
            found = _reason(error)
            continue
        kills = entry(pairs(text), "oom_kill")
        return kills if isinstance(kills, Absence) else OOMCount(group, inode, kills)
    return found


def _reason(error: OSError) -> Absence:
    # Not that of `attempts`: it loads psutil, and this is imported with the package.
    if isinstance(error, PermissionError):
        return Absence.DENIED
    return Absence.UNSUPPORTED if isinstance(error, FileNotFoundError) else Absence.UNREACHABLE


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """Where the memory of a process is accounted.

    Attributes:
        version: of control groups, 1 or 2.
        levels: folder of its group, and of those above it that can be seen.
    """

    version: int
    levels: tuple[str, ...]


def memory_group(
    pid: int, proc_root: str = "/proc", cgroup_root: str = "/sys/fs/cgroup"
) -> MemoryGroup | Absence:
    """The control group that accounts a process's memory, or why it is not known.

    Args:
        pid: the process.
        proc_root: '/proc', or a recorded tree.
        cgroup_root: '/sys/fs/cgroup', or a recorded tree.
    """
    group = _group_of(str(pid), proc_root, cgroup_root)
    return group if isinstance(group, Absence) else MemoryGroup(group.version, group.levels)


def _group_of(process: str, proc_root: str, cgroup_root: str) -> Group | Absence:
    try:
        membership = content(f"{proc_root}/{process}/cgroup")
    except OSError as error:
        return _reason(error)
    return Groups(membership, cgroup_root).of("memory") or Absence.UNSUPPORTED
