"""Pipes in a process whose descriptors are not ours alone."""

import errno
import fcntl
import os
from typing import Self

# Above the standard streams, which a run may have closed, and above the numbers they get in the host.
_FIRST_NUMBER = 10


class PipeEnd:
    """One end of a pipe, which knows whether its number still stands for it.

    A run may close every descriptor that it finds, and its own files get the numbers: those are
    neither read nor written nor closed here.

    Args:
        number: the descriptor.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._identity = _identity(number)

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """The reading and the writing end of a new pipe.

        Raises:
            OSError: there are no descriptors for it.
        """
        ends: list[Self] = []
        low = os.pipe()
        try:
            for number in low:
                moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FIRST_NUMBER)
                ends.append(cls(moved))
        except OSError:
            for end in ends:
                end.close()
            raise
        finally:
            for number in low:
                os.close(number)
        return ends[0], ends[1]

    @property
    def lost(self) -> bool:
        """Whether somebody else has closed it."""
        return _identity(self.number) != self._identity

    def checked(self) -> int:
        """The number. Raises OSError where it stands for something else by now."""
        if self.lost:
            raise OSError(errno.EBADF, "the run has closed the monitor's descriptors")
        return self.number

    def close(self) -> None:
        """Close it, if it is still there."""
        if not self.lost:
            os.close(self.number)


def _identity(number: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino
