"""The stacks of a process that hangs or crashes: offered by it, asked for by the recorder.

    watched process   faulthandler, on a signal that nothing else uses ──> a file in memory
    recorder          sends that signal, reads the file, keeps the text in the run directory

The file is in memory, so that a disk that hangs cannot hold up the process, and an ordinary run leaves none.
"""

import contextlib
import faulthandler
import fcntl
import os
import shutil
import signal
import subprocess
import time
from typing import IO, Self

from pylon.recorder.channel import Sender, Writer, start_ticks
from pylon.signals import is_caught, is_unused

_NAME = "pylon-stacks"
_FIRST_NUMBER = 10
# Some real-time signals are the C library's own, and libraries take the first ones that are free.
_CANDIDATES = range(signal.SIGRTMAX - 3, signal.SIGRTMIN + 8, -1)
_MOST_BYTES = 256 * 1024
_SPY_WITHIN_S = 10.0


class OfferedStacks:
    """In the watched process: stacks on request, and on a crash if nothing else writes them.

    Args:
        sender: through which the recorder learns of it.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._signal: int | None = None
        self._file: IO[bytes] | None = None
        self._enabled = False
        try:
            low = os.memfd_create(_NAME, os.MFD_CLOEXEC)
            try:
                self._file = os.fdopen(
                    fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _FIRST_NUMBER), "wb", buffering=0
                )
            finally:
                os.close(low)
            self._signal = next(one for one in _CANDIDATES if is_unused(one))
            faulthandler.register(self._signal, file=self._file, all_threads=True, chain=False)
            if not faulthandler.is_enabled():
                faulthandler.enable(file=self._file, all_threads=True)
                self._enabled = True
        except (OSError, ValueError, RuntimeError, StopIteration):
            # No such file, or no signal is free: a hang has no stacks then.
            self.withdraw()
            return
        sender.offer_stacks(self._signal, self._file.fileno())

    def withdraw(self) -> None:
        """Offer none any more."""
        self._sender.offer_stacks(0, 0)
        if self._enabled:
            faulthandler.disable()
        if self._signal is not None:
            faulthandler.unregister(self._signal)
            self._signal = None
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


class StackFile:
    """In the recorder: the stacks of one watched process. It is opened while that runs.

    Args:
        writer: the process.

    Raises:
        OSError: it is gone, or does not show its files.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._path = f"/proc/{writer.pid}/fd/{writer.stack_descriptor}"
        if not self._is_there():
            raise FileNotFoundError(self._path)
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._read = os.fstat(self._descriptor).st_size

    def ask(self) -> bool:
        """Have the stacks written; whether the process has been asked."""
        one = self.writer
        if not self._is_there() or start_ticks(one.pid) != one.start_ticks:
            return False
        if not is_caught(one.pid, one.stack_signal):
            return False
        try:
            os.kill(one.pid, one.stack_signal)
        except OSError:
            return False
        return True

    def new_text(self) -> str:
        """What was written since the last call; the end of it if it is long."""
        size = os.fstat(self._descriptor).st_size
        begin, self._read = max(self._read, size - _MOST_BYTES), size
        return os.pread(self._descriptor, max(0, size - begin), begin).decode("utf-8", "replace")

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)

    def _is_there(self) -> bool:
        """Whether the number is still that of the file: a program may have closed it, and opened another."""
        try:
            return os.readlink(self._path).startswith(f"/memfd:{_NAME}")  # noqa: PTH115 - not a path
        except OSError:
            return False


class PySpy:
    """The stacks of a process that offers none, by py-spy, if that is installed and may look at it.

    Args:
        pid: the process.
        program: where py-spy is.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, pid: int, program: str) -> None:
        self.pid = pid
        self._until_s = time.monotonic() + _SPY_WITHIN_S
        self._process = subprocess.Popen(
            [program, "dump", "--pid", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if self._process.stdout is not None:
            os.set_blocking(self._process.stdout.fileno(), False)
        self._text = b""

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """py-spy at work; None without it."""
        program = shutil.which("py-spy")
        if program is None:
            return None
        try:
            return cls(pid, program)
        except OSError:
            return None

    def text(self) -> str | None:
        """The stacks, empty if it could not read them; None while it is at work. Does not wait."""
        pipe = self._process.stdout
        if pipe is not None and len(self._text) < _MOST_BYTES:
            self._text += pipe.read(_MOST_BYTES) or b""
        if self._process.poll() is None:
            if time.monotonic() < self._until_s:
                return None
            self._process.kill()
            self._process.wait()
        elif pipe is not None:
            self._text += pipe.read(_MOST_BYTES) or b""
        if pipe is not None:
            pipe.close()
        return self._text.decode("utf-8", "replace") if self._process.returncode == 0 else ""
