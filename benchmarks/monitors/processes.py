"""What the kernel reports about processes: CPU time, memory, who belongs to a training process."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "PYLON_BENCHMARK_MARK"

_PROC = Path("/proc")
# Fields of /proc/PID/stat (proc(5)), counted from the end of the command name.
_STATE, _CHILDREN_USER, _CHILDREN_SYSTEM = 0, 13, 14
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# CPUCLOCK_SCHED of linux/posix-timers.h: nanoseconds on a processor, where stat has steps of 10 ms.
_CPU_CLOCK = 2


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one process.

    Attributes:
        name: as `ps` shows it.
        pss_bytes: proportional set size: pages shared with N processes count 1/N.
        uss_bytes: pages that no other process has.
        libraries: what of `watched` (see `memory`) is mapped into it.
    """

    name: str
    pss_bytes: int
    uss_bytes: int
    libraries: tuple[str, ...]


def marked(mark: str, leave_out: int) -> list[int]:
    """Living processes whose environment carries `mark`, whatever has adopted them, without one of them."""
    return [pid for pid in _marked(mark) if pid != leave_out]


def _marked(mark: str) -> Iterator[int]:
    wanted = f"{MARK}={mark}".encode()
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        # A process may end, or belong to another user.
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0") and _stat(folder)[_STATE] not in "ZX":
                yield int(folder.name)


def _stat(folder: Path) -> list[str]:
    return (folder / "stat").read_text().rpartition(")")[2].split()


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended; 0 where it has ended itself."""
    try:
        own_s = time.clock_gettime(~pid << 3 | _CPU_CLOCK)
        fields = _stat(_PROC / str(pid))
    except OSError:
        return 0.0
    return own_s + (int(fields[_CHILDREN_USER]) + int(fields[_CHILDREN_SYSTEM])) / _TICKS_PER_S


def rss_bytes(pid: int) -> int:
    """Resident memory."""
    return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES


def name_of(pid: int) -> str:
    """As `ps` shows it."""
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "comm").read_text().strip()
    return f"process {pid}"


def memory(pid: int, watched: tuple[str, ...] = ("torch", "numpy")) -> Memory:
    """Memory of a process.

    Args:
        pid: of the process.
        watched: words to look for in the paths of mapped files.
    """
    folder = _PROC / str(pid)
    sizes = {"Pss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    libraries: tuple[str, ...] = ()
    with contextlib.suppress(OSError):
        for line in (folder / "smaps_rollup").read_text().splitlines():
            field, _, size = line.partition(":")
            if field in sizes:
                sizes[field] = int(size.split()[0]) * 1024
        mapped = (folder / "maps").read_text()
        libraries = tuple(word for word in watched if f"/{word}/" in mapped)
    uss_bytes = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return Memory(name_of(pid), sizes["Pss"], uss_bytes, libraries)
