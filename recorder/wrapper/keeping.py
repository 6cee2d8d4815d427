"""`--keep-stderr`: standard error passes through a process of ours, which keeps its last lines.

    command ──> terminal or pipe of ours ──> this process ──> the terminal or pipe that was there before

A terminal is replaced by a terminal and a pipe by a pipe, so `isatty` and the window's width are as before.
"""

import contextlib
import fcntl
import mmap
import os
import select
import struct
import termios

from pylon.recorder.wrapper.inheritance import close_all_but
from pylon.recorder.wrapper.kernel import call_process

_STDERR = 2
_KEPT_BYTES = 8192
_COUNT = struct.Struct("<Q")
_CHUNK_BYTES = 65536
# What the command has written before its end is there by then; what it leaves running may write without end.
_REST_WITHIN_S = 0.2


class KeptErrors:
    """Make it while this process has one thread and blocks all signals, before the command.

    Attributes:
        descriptor: the command's standard error. This process closes it once the command has it.
        pid: of the process that passes it on. It ends when the last writer has.

    Raises:
        OSError: no terminal, pipe or process can be made.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _COUNT.size + _KEPT_BYTES)
        self._is_terminal = os.isatty(_STDERR)
        self._reader, self.descriptor = os.openpty() if self._is_terminal else os.pipe()
        if self._is_terminal:
            _imitate(self.descriptor)
            self.resize()
        self._ended, ending = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            # An exception must never run the rest of the parent's program.
            try:
                close_all_but({self._reader, _STDERR, ending})
                call_process(b"pylon:errors")
                _pass_on(self._reader, self._memory)
            finally:
                os._exit(0)
        os.close(ending)
        if not self._is_terminal:
            # Held here, the command would not notice that the reader is gone.
            os.close(self._reader)

    def resize(self) -> None:
        """Give the command's terminal the size of the real one."""
        if self._is_terminal:
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(_STDERR, termios.TIOCGWINSZ, bytes(8))
                fcntl.ioctl(self._reader, termios.TIOCSWINSZ, size)

    def last_lines(self) -> str:
        """The end of what was written, once all that was written before is passed on."""
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        poll.poll(_REST_WITHIN_S * 1000)
        (count,) = _COUNT.unpack_from(self._memory)
        ring = self._memory[_COUNT.size :]
        begin = count % _KEPT_BYTES
        kept = ring[:count] if count < _KEPT_BYTES else ring[begin:] + ring[:begin]
        return kept.decode(errors="replace").replace("\r\n", "\n")


def _imitate(terminal: int) -> None:
    """The real terminal's settings, except for what it will do to the output itself."""
    settings = termios.tcgetattr(_STDERR)
    settings[1] &= ~termios.OPOST
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, settings)


def _pass_on(reader: int, memory: mmap.mmap) -> None:
    count = 0
    while True:
        try:
            content = os.read(reader, _CHUNK_BYTES)
        except OSError:
            # A terminal whose last writer has closed it.
            return
        if not content:
            return
        rest = content
        while rest:
            # With no reader any more this ends, and the command's next write fails as it would have.
            rest = rest[os.write(_STDERR, rest) :]
        for byte in content[-_KEPT_BYTES:]:
            memory[_COUNT.size + count % _KEPT_BYTES] = byte
            count += 1
        _COUNT.pack_into(memory, 0, count)
