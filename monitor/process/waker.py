"""Waiting for descriptors, and being woken from it by another thread."""

import contextlib
import os
import select

from pylon.monitor.process.pipes import PipeEnd


class Waker:
    """One thread waits, others wake it. Without a pipe nobody is woken, and waits end by their time."""

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
