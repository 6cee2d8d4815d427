"""The calls of prctl(2) that the wrapper needs."""

import ctypes
import os
import signal

# <sys/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose parent ends. Its children do not inherit this."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends; at once if the parent has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(128 + signal.SIGKILL)


def dump_no_core() -> None:
    """Let no core file be written of this process, nor a core handler be called."""
    _prctl(_PR_SET_DUMPABLE, 0)


def call_process(name: bytes) -> None:
    """Name this process as `ps` and `top` show it (15 bytes at most)."""
    buffer = ctypes.create_string_buffer(name)
    _prctl(_PR_SET_NAME, ctypes.addressof(buffer))


def _prctl(option: int, argument: int) -> None:
    # An old kernel or a sandbox that refuses it costs what it would have given, and nothing else.
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(argument), *(ctypes.c_ulong(0) for _ in range(3)))
