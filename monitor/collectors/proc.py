"""Files of /proc and /sys, read whole, and /proc/PID/stat. Standard library only: every process loads it."""

import os
from typing import NamedTuple

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_MOST_BYTES = 65536


def content(path: str) -> bytes:
    """The file's bytes, 64 KiB at most. Raises OSError.

    A third of what Path.read_bytes costs: a monitor reads dozens of these each second.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)


class ProcessStat(NamedTuple):
    """One line of /proc/PID/stat (proc(5)).

    Attributes:
        pid, parent_pid: process ids.
        name: command name.
        ended: a zombie, or dead.
        cpu_ticks: user and system time.
        threads: how many.
        started_ticks: since boot; with the pid the identity of a process, since pids are used again.
        rss_pages: resident pages.
    """

    pid: int
    parent_pid: int
    name: bytes
    ended: bool
    cpu_ticks: int
    threads: int
    started_ticks: int
    rss_pages: int


def process_stat(proc_root: str, pid: int) -> ProcessStat:
    """What is in /proc/PID/stat. Raises OSError when the process is gone, ValueError on nonsense.

    Not psutil's: from this one file (9 us) come parent, CPU time, threads, memory and identity,
    for which psutil opens three, and makes an object first (60 us). The host has hundreds of processes.
    """
    line = content(f"{proc_root}/{pid}/stat")
    # The name may hold blanks and brackets: it ends at the last bracket.
    closing = line.rfind(b")")
    fields = line[closing + 2 :].split(None, 22)
    if closing < 0 or len(fields) < 22:
        raise ValueError(f"{proc_root}/{pid}/stat: not in the format of proc(5)")
    return ProcessStat(
        pid,
        int(fields[1]),
        line[line.find(b"(") + 1 : closing],
        fields[0] in b"ZXx",
        int(fields[11]) + int(fields[12]),
        int(fields[17]),
        int(fields[19]),
        int(fields[21]),
    )


def process_ids(proc_root: str) -> set[int]:
    """All processes that can be seen. Raises OSError."""
    return {int(name) for name in os.listdir(proc_root) if name.isdigit()}  # noqa: PTH208 - names, not Paths


def process_stats(proc_root: str, pids: set[int]) -> dict[int, ProcessStat]:
    """/proc/PID/stat of each; processes that are gone or cannot be read are left out."""
    found = {}
    for pid in pids:
        try:
            found[pid] = process_stat(proc_root, pid)
        except (OSError, ValueError):
            continue
    return found
