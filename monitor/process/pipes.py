"""Pipes in a process whose descriptors are not ours alone, and waiting for several of them."""

import contextlib
import errno
import fcntl
import os
import select
from typing import Self

# Above the standard streams, which a run may have closed, and above the numbers they get in the supervisor.
_FIRST_NUMBER = 10


class PipeEnd:
    """One end of a pipe, which knows whether its number still belongs to it.

    A run may close every descriptor that it finds, and its own files get the numbers: those are
    neither read nor written nor closed here.

    Args:
        number: the descriptor.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._identity = _identity(number)

    @classmethod
    def above_the_standard_streams(cls, number: int) -> Self:
        """A copy of a descriptor with a number that no standard stream can get; the caller closes its own.

        Raises:
            OSError: there is no descriptor for it.
        """
        return cls(fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FIRST_NUMBER))

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """The reading and the writing end of a new pipe.

        Raises:
            OSError: there are no descriptors for it.
        """
        ends: list[Self] = []
        low = os.pipe()
        try:
            ends.extend(cls.above_the_standard_streams(number) for number in low)
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
        """Whether other code has closed it."""
        return _identity(self.number) != self._identity

    def checked(self) -> int:
        """The number. Raises OSError if it belongs to something else by now."""
        if self.lost:
            raise OSError(errno.EBADF, "the run has closed the monitor's descriptors")
        return self.number

    def close(self) -> None:
        """Close it, if it is still there."""
        if not self.lost:
            os.close(self.number)


class Waker:
    """One thread waits, others wake it. Without a pipe, waits end by their time alone."""

    def __init__(self) -> None:
        self._pipe: tuple[PipeEnd, PipeEnd] | None = None

    def open(self) -> None:
        """Be ready to be woken.

        Raises:
            OSError: there are no descriptors for it.
        """
        self._pipe = PipeEnd.pair()
        for end in self._pipe:
            os.set_blocking(end.number, False)

    def close(self) -> None:
        """Give the descriptors back."""
        pipe, self._pipe = self._pipe, None
        for end in pipe or ():
            end.close()

    def wake(self) -> None:
        """End the wait that is under way, or the next one."""
        pipe = self._pipe
        if pipe is not None:
            # A full pipe wakes as well.
            with contextlib.suppress(OSError):
                os.write(pipe[1].checked(), b"w")

    def wait_for(self, descriptors: tuple[int, ...], timeout_s: float) -> list[int]:
        """Which descriptors are readable, waiting up to `timeout_s` for them or to be woken."""
        poller = select.poll()
        reading = None if self._pipe is None else self._pipe[0]
        for descriptor in (*descriptors, *([] if reading is None else [reading.number])):
            poller.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in poller.poll(timeout_s * 1000)]
        if reading is not None and reading.lost:
            self.close()
            # Without one, a stop is noticed when the wait is over.
            with contextlib.suppress(OSError):
                self.open()
        elif reading is not None and reading.number in ready:
            with contextlib.suppress(OSError):
                os.read(reading.checked(), 4096)
        return ready


def _identity(number: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def close_inherited(own: int) -> None:
    """Close what libraries of the run have left open for every child: the other end may wait for us.

    Args:
        own: the first number that is not this process's own.
    """
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are all that is needed
        if int(name) >= own:
            # The listing's own descriptor is gone already.
            with contextlib.suppress(OSError):
                os.close(int(name))
