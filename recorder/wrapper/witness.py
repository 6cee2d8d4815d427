"""A process that is in the command's process group, and so gets every signal that is sent to the group.

Ctrl-C, `kill %1` and a scheduler reach the command and the wrapper alike. `kill PID` reaches the wrapper
alone, which must hand it on. The signal itself does not show which of the two happened. If the first were
handed on too, the command would have two: to many programs the second Ctrl-C means to end without saving.
"""

import contextlib
import os
import select
import signal
import time
from pathlib import Path

from pylon.recorder.wrapper.inheritance import close_all_but
from pylon.recorder.wrapper.kernel import call_process, die_with

# The kernel signals the newest process of a group first, so the witness has it before the wrapper. A
# scheduler that signals one process after another takes a moment.
_WITHIN_S = 0.02
_LOOK_EVERY_S = 0.2
_ALL = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


class Witness:
    """Make it while this process has one thread and blocks all signals, before the command.

    Attributes:
        pid: of the process.
    """

    def __init__(self) -> None:
        self._seen: list[int] = []
        self._reader, writer = os.pipe()
        orders, self._orders = os.pipe()
        parent_pid = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            # An exception must never run the rest of the parent's program.
            try:
                close_all_but({writer, orders})
                _watch(parent_pid, writer, orders)
            finally:
                os._exit(0)
        os.close(writer)
        os.close(orders)
        os.set_blocking(self._reader, False)
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)

    def saw(self, number: int) -> bool:
        """Whether the whole group got this signal, which has just come. Waits 20 ms at most."""
        until_s = time.monotonic() + _WITHIN_S
        self._read()
        while number not in self._seen and (left_s := until_s - time.monotonic()) > 0:
            self._poll.poll(left_s * 1000)
            if not self._read():
                break
        if number not in self._seen:
            return False
        # Several in quick succession may have been one for the wrapper.
        self._seen = [one for one in self._seen if one != number]
        return True

    def continue_me_with(self, pid: int) -> None:
        """Have this process, which is about to stop, continued as soon as `pid` is not stopped any more.

        The shell continues both. But who stopped `pid` alone continues or kills it alone, and a stopped
        parent does not notice.
        """
        with contextlib.suppress(OSError):
            os.write(self._orders, b"%d\n" % pid)
            os.kill(self.pid, signal.SIGUSR1)

    def end(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self._reader)
        os.close(self._orders)

    def _read(self) -> bool:
        """Note what it has seen; False if nothing can come any more."""
        try:
            numbers = os.read(self._reader, 4096)
        except BlockingIOError:
            return True
        self._seen += numbers
        return bool(numbers)


def _watch(parent_pid: int, writer: int, orders: int) -> None:
    """The witness's own life: it ends by the kernel, with its parent."""
    die_with(parent_pid)
    call_process(b"pylon-witness")
    os.set_blocking(writer, False)
    followed = 0
    while True:
        seen = signal.sigtimedwait(_ALL, _LOOK_EVERY_S) if followed else signal.sigwaitinfo(_ALL)
        if seen is None:
            followed = _continue_if_due(parent_pid, followed)
        elif seen.si_signo == signal.SIGUSR1 and seen.si_pid == parent_pid:
            followed = int(os.read(orders, 4096).split()[-1])
        else:
            # 65536 signals that are not read yet are enough.
            with contextlib.suppress(BlockingIOError):
                os.write(writer, bytes([seen.si_signo]))


def _continue_if_due(parent_pid: int, followed: int) -> int:
    """The process that is still to be followed, 0 if the parent runs again."""
    if not _is_stopped(parent_pid):
        return 0
    if _is_stopped(followed):
        return followed
    os.kill(parent_pid, signal.SIGCONT)
    return 0


def _is_stopped(pid: int) -> bool:
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    # The name may hold blanks and brackets: it ends at the last bracket.
    return line[line.rfind(b")") + 2 :][:1] in {b"T", b"t"}
