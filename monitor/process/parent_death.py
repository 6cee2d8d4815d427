"""Die with the parent: by the kernel's signal, and by watching the training process itself."""

import ctypes
import os
import select
import signal

from pylon.monitor.collectors.proc import process_stat

# <sys/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def call_process(name: str) -> None:
    """Name this process as `ps` and `top` show it (15 characters at most)."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def die_with_parent(parent_pid: int, number: signal.Signals, *, needs_parent: bool = True) -> None:
    """Have the kernel send `number` to this process when the parent's creating thread ends.

    The wish is lost across fork, so every process arms it for itself; and a parent that died
    before the arming sends nothing, so its pid is compared afterwards (prctl(2), PR_SET_PDEATHSIG).

    Args:
        parent_pid: who must still be the parent; this process ends at once if it is not.
        number: SIGKILL for a process that has nothing to put in order; SIGTERM for one that holds
            a driver; SIGCONT for one that watches the parent itself and must only be awake to see.
        needs_parent: end if it is gone already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if needs_parent and os.getppid() != parent_pid:
        os._exit(0)


class ProcessWatch:
    """Shows whether a process still runs, free of the reuse of pids.

    Args:
        pid: the process to watch; it must run now.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._start_time = _start_time(pid)
        self._poll = select.poll()
        self.descriptor = _pidfd(pid)
        if self.descriptor is not None:
            self._poll.register(self.descriptor, select.POLLIN)

    def ended(self) -> bool:
        """Whether the process has ended. Does not wait."""
        if self.descriptor is not None:
            return bool(self._poll.poll(0))
        # Without a start time it had ended before the watch began.
        return self._start_time is None or _start_time(self._pid) != self._start_time


def _pidfd(pid: int) -> int | None:
    """A descriptor that is readable once the process has ended; None where the kernel has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        # Before Linux 5.3, and in containers whose seccomp filter does not know the call.
        return None


def _start_time(pid: int) -> int | None:
    """When the process started, in kernel ticks; None once it is gone or a zombie."""
    try:
        stat = process_stat("/proc", pid)
    except (OSError, ValueError):
        return None
    return None if stat.ended else stat.started_ticks
