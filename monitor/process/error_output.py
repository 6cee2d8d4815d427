"""Standard error of the supervisor, kept in memory up to a limit: it explains a start that fails."""

import fcntl
import os

from pylon.monitor.process.pipes import PipeEnd

_MOST_BYTES = 64 * 1024
_MOST_SHOWN = 4000


class ErrorOutput:
    """A file in memory that a process writes its standard error to and that never holds it up.

    At its limit, a write fails at once (the file is sealed against growing); a pipe would be full then and
    block the writer, and a file on disk would grow.

    Raises:
        OSError: the system has no such files, or no descriptor is free.
    """

    def __init__(self) -> None:
        descriptor = os.memfd_create("pylon-supervisor-stderr", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, _MOST_BYTES)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
            self._end = PipeEnd.above_the_standard_streams(descriptor)
        finally:
            os.close(descriptor)

    @property
    def number(self) -> int:
        """The descriptor to write to."""
        return self._end.number

    def text(self) -> str:
        """What was written, on lines; the end of it if it is long; '' if nothing was."""
        try:
            written = os.pread(self._end.checked(), _MOST_BYTES, 0).partition(b"\0")[0]
        except OSError:
            return ""
        lines = written.decode("utf-8", "replace").strip()[-_MOST_SHOWN:].splitlines()
        return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in lines)

    def close(self) -> None:
        """Give the descriptor back."""
        self._end.close()
