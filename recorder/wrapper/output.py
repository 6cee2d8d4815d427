"""Standard error, which is the command's: one line of ours at the end, and its last lines for the record."""

import os
import select
import stat

_STDERR = 2
_MOST_BYTES = 8192


class ErrorFile:
    """What the command writes to its standard error, if that is a file.

    A terminal or a pipe cannot be read without being put in between, which the command would notice.

    Attributes:
        is_stream: whether it is a terminal, a pipe or a socket.
    """

    def __init__(self) -> None:
        self._begin: int | None = None
        self.is_stream = False
        try:
            status = os.fstat(_STDERR)
        except OSError:
            return
        self.is_stream = stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode) or os.isatty(_STDERR)
        if stat.S_ISREG(status.st_mode):
            self._begin = status.st_size

    def last_lines(self) -> str | None:
        """The end of what was added to it; None if it is no file, or cannot be read."""
        if self._begin is None:
            return None
        try:
            descriptor = os.open(f"/proc/self/fd/{_STDERR}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            size = os.fstat(descriptor).st_size
            # A command may cut it.
            begin = min(self._begin, size)
            return os.pread(descriptor, _MOST_BYTES, max(begin, size - _MOST_BYTES)).decode(errors="replace")
        except OSError:
            return None
        finally:
            os.close(descriptor)


def write_line(text: str) -> None:
    """One line to standard error, if it can be written without waiting."""
    poll = select.poll()
    poll.register(_STDERR, select.POLLOUT)
    try:
        if any(event & select.POLLOUT for _, event in poll.poll(0)):
            # Below the size of a pipe's atomic write, so it does not wait either.
            # Not `pylon.monitor.printable`: a wrapper that joins a recorder needs nothing of that package.
            shown = "".join(one if one.isprintable() else "?" for one in text)
            os.write(_STDERR, shown.encode(errors="replace")[: select.PIPE_BUF - 1] + b"\n")
    except OSError:
        # It is closed, or its reader is gone: the command would not have written there either.
        return
