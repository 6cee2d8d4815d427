"""Die with the parent: by the kernel's signal, and by watching the training process itself."""

import ctypes
import os
import select
import signal

# <sys/prctl.h>
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel send SIGKILL to this process when the parent's creating thread ends.

    SIGKILL, because it alone also ends a process that is stopped (SIGSTOP). It is lost across
    fork, so every process arms it for itself; and a parent that died before the arming sends
    nothing, so its pid is compared afterwards (prctl(2), PR_SET_PDEATHSIG).

    Args:
        parent_pid: who must still be the parent; this process ends at once if it is not.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)


class ProcessWatch:
    """Tells whether a process still runs, free of the reuse of pids.

    Args:
        pid: the process to watch; it must run now.
    """

    def __init__(self, pid: int) -> None:
        self.descriptor = os.pidfd_open(pid)
        self._poll = select.poll()
        self._poll.register(self.descriptor, select.POLLIN)

    def ended(self) -> bool:
        """Whether the process has ended. Does not wait."""
        return bool(self._poll.poll(0))
