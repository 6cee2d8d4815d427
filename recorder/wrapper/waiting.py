"""Wait for the command: hand signals on, stop and continue with it, and learn how it ended.

The process sleeps in the kernel until there is a signal.
"""

import contextlib
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pylon.recorder.wrapper.witness import Witness

# Those that a process gets for its own mistakes; blocked, the kernel ends it all the same.
_OWN_MISTAKES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
TAKEN = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
_JOB_CONTROL = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}


@dataclass(frozen=True)
class Ended:
    """How a command ended, from its parent.

    Attributes:
        exit_code: None if a signal ended it.
        signal: that ended it, None if it exited.
        core: whether a core file was written.
        peak_memory_bytes: the largest resident size of it, or of one of its children that it waited for.
        cpu_s: user and system time, the same.
    """

    exit_code: int | None
    signal: int | None
    core: bool
    peak_memory_bytes: int
    cpu_s: float

    @property
    def shell_code(self) -> int:
        """What a shell has in `$?`."""
        return 128 + self.signal if self.signal is not None else self.exit_code or 0


def take_signals() -> None:
    """Block all signals, so that they wait for `wait_for`; and hear of the end of children in any case."""
    signal.pthread_sigmask(signal.SIG_SETMASK, TAKEN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def wait_for(pid: int, witness: Witness, on_signal: Callable[[int, int], None]) -> Ended:
    """How process `pid`, a child of this one, ended.

    Orphans of the command that have become our children are reaped when they end.

    Args:
        pid: of the command.
        witness: sees which signals went to the whole process group.
        on_signal: takes the number of each signal and the process that has sent it, 0 if that is the kernel.
    """
    for number in _JOB_CONTROL:
        signal.signal(number, signal.SIG_DFL)
    while True:
        if (ended := _end_so_far(pid)) is not None:
            return ended
        reap_orphans(pid)
        if (stop := stopped_by(pid)) is not None:
            _stop_by(stop, pid, witness)
            continue
        received = signal.sigwaitinfo(TAKEN)
        if received.si_signo == signal.SIGCHLD or received.si_pid in {pid, witness.pid}:
            continue
        if not witness.saw(received.si_signo):
            # A command of another user (sudo) is out of reach, as it would be for the sender.
            with contextlib.suppress(PermissionError):
                os.kill(pid, received.si_signo)
        on_signal(received.si_signo, received.si_pid)


def children() -> set[int] | None:
    """The processes whose parent this one is; None if the kernel has no list of them."""
    found: set[int] = set()
    try:
        for thread in os.listdir("/proc/self/task"):  # noqa: PTH208 - names, not Paths
            found |= {int(one) for one in Path(f"/proc/self/task/{thread}/children").read_text().split()}
    except OSError:
        return None
    return found


def stopped_by(pid: int) -> int | None:
    """The signal that has stopped a child, once; None if it runs, or has ended."""
    try:
        found = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG)
    except ChildProcessError:
        # One that has ended and is not reaped can never stop.
        return None
    return None if found is None else found.si_status


def end_of(pid: int) -> Ended:
    """Wait for a child, and for nothing else."""
    _, status, usage = os.wait4(pid, 0)
    return _ended(status, usage)


def _end_so_far(pid: int) -> Ended | None:
    found, status, usage = os.wait4(pid, os.WNOHANG)
    return _ended(status, usage) if found else None


def _ended(status: int, usage: resource.struct_rusage) -> Ended:
    return Ended(
        exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        core=os.WCOREDUMP(status),
        peak_memory_bytes=usage.ru_maxrss * 1024,
        cpu_s=usage.ru_utime + usage.ru_stime,
    )


def reap_orphans(pid: int) -> None:
    """Reap those that have ended of the processes that the command `pid` has left to us."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        # Who has started one of Pylon's processes waits for it, very soon.
        if found is None or found.si_pid == pid or is_pylons(found.si_pid):
            return
        os.waitpid(found.si_pid, 0)


def is_pylons(pid: int) -> bool:
    """Whether a child is one of Pylon's own processes: the witness, the monitors, the recorder."""
    try:
        return Path(f"/proc/{pid}/comm").read_bytes().startswith(b"pylon-")
    except OSError:
        return False


def _stop_by(number: int, pid: int, witness: Witness) -> None:
    """Stop as the command has, so that the shell sees its job stopped; returns when continued."""
    witness.continue_me_with(pid)
    if number not in _JOB_CONTROL:
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
