"""Small files of /proc and /sys, read whole, and what stands in them."""

import os
from typing import NamedTuple

from pylon.monitor.collectors.counters import reason
from pylon.monitor.status.values import Absence

_MOST_BYTES = 65536
_MOST_DIGITS = 20


def content(path: str) -> bytes:
    """The file's bytes, 64 KiB at most. Raises OSError.

    A third of what Path.read_bytes costs: a monitor reads dozens of these each second.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)


def integer(text: bytes) -> int | Absence:
    """A whole number, which may be negative; UNREACHABLE where it is none."""
    digits = text[1:] if text.startswith(b"-") else text
    return int(text) if digits.isdigit() and len(digits) <= _MOST_DIGITS else Absence.UNREACHABLE


def number(path: str) -> int | Absence:
    """The one number in a file."""
    try:
        text = content(path).strip()
    except OSError as error:
        return reason(error)
    return integer(text)


def pairs(path: str) -> dict[bytes, int] | Absence:
    """A file of lines 'name number'; other lines are passed over."""
    try:
        lines = content(path).splitlines()
    except OSError as error:
        return reason(error)
    rows = (line.split() for line in lines)
    values = {row[0]: integer(row[1]) for row in rows if len(row) == 2}
    return {name: value for name, value in values.items() if not isinstance(value, Absence)}


def entry(values: dict[bytes, int] | Absence, name: bytes) -> int | Absence:
    """One number of `pairs`; UNSUPPORTED where the kernel does not write it."""
    return values if isinstance(values, Absence) else values.get(name, Absence.UNSUPPORTED)


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
    """All that /proc/PID/stat tells. Raises OSError once it is gone, ValueError on nonsense.

    Not psutil's: from this one file (9 us) come parent, CPU time, threads, memory and identity,
    for which psutil opens three, and makes an object first (60 us). The host has hundreds of processes.
    """
    line = content(f"{proc_root}/{pid}/stat")
    # The name may hold blanks and brackets: it ends at the last bracket.
    closing = line.rfind(b")")
    fields = line[closing + 2 :].split(None, 22)
    if closing < 0 or len(fields) < 22:
        raise ValueError(f"{proc_root}/{pid}/stat: not as proc(5) says")
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
    """What /proc/PID/stat tells of each; those that are gone or cannot be read are left out."""
    found = {}
    for pid in pids:
        try:
            found[pid] = process_stat(proc_root, pid)
        except (OSError, ValueError):
            continue
    return found
