"""How a process has ended, learnt by a process that is not its parent."""

import fcntl
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

# <linux/pidfd.h>: PIDFD_GET_INFO = _IOWR(0xFF, 11, struct pidfd_info), which had 64 bytes at first; the
# kernel writes as much of it as the request says. PIDFD_INFO_EXIT came with Linux 6.15.
_BYTES = 64
_GET_INFO = (3 << 30) | (_BYTES << 16) | (0xFF << 8) | 11
_EXIT = 1 << 3
_STATUS_AT = 60
_LOOK_EVERY_S = 0.005
_STAT_EXIT_CODE = 49


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """A wait status.

    Attributes:
        code: exit code; None if a signal has ended it.
        signal: that signal; None if it has exited.
        source: who reports it: 'kernel' or 'parent'.
        dumped_core: whether it left a core file.
    """

    code: int | None
    signal: int | None
    source: str = "kernel"
    dumped_core: bool = False

    @classmethod
    def of(cls, status: int, source: str = "kernel") -> "ExitStatus":
        """What a wait status means."""
        if os.WIFSIGNALED(status):
            return cls(None, os.WTERMSIG(status), source, os.WCOREDUMP(status))
        return cls(os.WEXITSTATUS(status), None, source)


def exit_status(pidfd: int | None, pid: int, start_ticks: int | None, within_s: float) -> ExitStatus | None:
    """How a process that has ended has ended; None if this system does not show it.

    Once its parent has waited for it, the kernel keeps the status for those who have a pidfd; until then it
    is in /proc. Between the two there may be no moment to look, so the first answer counts.

    Args:
        pidfd: opened while it ran; None if there is none.
        pid, start_ticks: the process.
        within_s: how long its parent may take to wait for it.
    """
    until_s = time.monotonic() + within_s
    while True:
        status = None if pidfd is None else status_of_pidfd(pidfd)
        if status is None:
            status = status_of_zombie(pid, start_ticks)
        if status is not None:
            return ExitStatus.of(status)
        if time.monotonic() >= until_s or (pidfd is None and not Path(f"/proc/{pid}").exists()):
            return None
        time.sleep(_LOOK_EVERY_S)


def status_of_pidfd(pidfd: int) -> int | None:
    """The wait status of a process that was waited for; None if the kernel does not show it (yet)."""
    info = bytearray(_BYTES)
    struct.pack_into("<Q", info, 0, _EXIT)
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError:
        return None
    (mask,) = struct.unpack_from("<Q", info, 0)
    (status,) = struct.unpack_from("<i", info, _STATUS_AT)
    return int(status) if mask & _EXIT else None


def status_of_zombie(pid: int, start_ticks: int | None) -> int | None:
    """The wait status of a process that has ended and was not waited for; None if it is not shown."""
    try:
        owner = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 - a file of /proc
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    if len(fields) <= _STAT_EXIT_CODE or fields[0] != b"Z" or int(fields[19]) != start_ticks:
        return None
    # To those who may not know it, the kernel shows 0.
    may_know = os.geteuid() in {0, owner}
    return int(fields[_STAT_EXIT_CODE]) if may_know else None
