"""What wakes a process that waits: it shall end, or there is something for it to do."""

import contextlib
import os
import select
from multiprocessing.context import ForkContext
from typing import Protocol


class StopEvent(Protocol):
    """The part of multiprocessing.Event that is used here."""

    def set(self) -> None:
        """Wake all who wait, now and from now on."""

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it was set, waiting up to `timeout` seconds."""

    def is_set(self) -> bool:
        """Whether it was set."""


def stop_event(context: ForkContext) -> StopEvent:
    """An Event for processes that `context` starts.

    A machine without a writable /dev/shm has no semaphores, of which multiprocessing makes its Event.

    Raises:
        OSError: there is no descriptor to be had either.
    """
    try:
        return context.Event()
    except (OSError, ImportError):
        return EventFdEvent()


class EventFdEvent:
    """An Event that processes share by inheriting a descriptor, without a lock that one could die with.

    Attributes:
        descriptor: readable once it is set.
    """

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def set(self) -> None:
        """See StopEvent. Never waits."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self.descriptor, 1)

    def clear(self) -> None:
        """Undo `set`. Never waits."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.descriptor)

    def wait(self, timeout: float | None = None) -> bool:
        """See StopEvent."""
        waiting = select.poll()
        waiting.register(self.descriptor, select.POLLIN)
        return bool(waiting.poll(None if timeout is None else max(0.0, 1000 * timeout)))

    def is_set(self) -> bool:
        """See StopEvent."""
        return self.wait(0.0)

    def __del__(self) -> None:
        """Close the descriptor with the last reference: each start of a process has Events of its own."""
        with contextlib.suppress(AttributeError, OSError):
            os.close(self.descriptor)
