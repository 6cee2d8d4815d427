"""Memory that the processes of one supervisor share without a lock.

A lock would outlive the process that held it when it was killed. Each value here has one writer,
and an aligned double is stored at once, so a reader sees the former value or the next one.
"""

import mmap
import time
from typing import Self, overload

from pylon.monitor.process.stop_event import EventFdEvent

_BYTES_PER_NUMBER = 8
_BETWEEN = b"\0"


class _Number:
    """A double of a `SharedNumbers`; 0 means 'not'."""

    def __set_name__(self, owner: type["SharedNumbers"], name: str) -> None:
        self._index = owner.numbers
        owner.numbers += 1

    @overload
    def __get__(self, instance: None, owner: type["SharedNumbers"]) -> Self: ...
    @overload
    def __get__(self, instance: "SharedNumbers", owner: type["SharedNumbers"]) -> float: ...
    def __get__(self, instance: "SharedNumbers | None", owner: type["SharedNumbers"]) -> Self | float:
        return self if instance is None else instance.memory[self._index]

    def __set__(self, instance: "SharedNumbers", value: float) -> None:
        instance.memory[self._index] = value


class SharedNumbers:
    """Doubles in anonymous memory, shared with every process that is forked later."""

    numbers = 0

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        view = memoryview(self._page)
        self.memory = view[: type(self).numbers * _BYTES_PER_NUMBER].cast("d")
        self._text = view[mmap.PAGESIZE // 2 :]


class Heartbeat(SharedNumbers):
    """What a process lets its supervisor see. Times are monotonic seconds.

    Attributes:
        alive_s: when its main thread last came round.
        ready_s: when it had read its modules and made what it needs; 0 before.
        busy_since_s: since when the oldest reading under way has taken; 0 between readings.
        success_s: when the newest reading succeeded.
        waiting_since_s: since when it waits for the Manager; 0 while it does not.
        connected_s: when the Manager had accepted its connection; 0 before.
        answered_s: when the Manager last answered it.
        asked_to_end: written by the supervisor: not 0 once the process shall end.
        slowdown: written by the supervisor: by what the interval is multiplied.
        wake: set by the supervisor once there is something to look at.
    """

    numbers = 0
    alive_s = _Number()
    ready_s = _Number()
    busy_since_s = _Number()
    success_s = _Number()
    waiting_since_s = _Number()
    connected_s = _Number()
    answered_s = _Number()
    asked_to_end = _Number()
    slowdown = _Number()
    _last_word_bytes = _Number()

    def __init__(self) -> None:
        super().__init__()
        self.slowdown = 1.0
        self.wake = EventFdEvent()

    def ask_to_end(self) -> None:
        """Ask the process to end, and wake it for that. Never waits."""
        self.asked_to_end = 1.0
        self.wake.set()

    @property
    def last_word(self) -> tuple[str, str] | None:
        """Why the process ended itself, as kind and text of a Failure; None if it gave no reason."""
        kind, found, text = bytes(self._text[: int(self._last_word_bytes)]).partition(_BETWEEN)
        return (kind.decode(errors="replace"), text.decode(errors="replace")) if found else None

    @last_word.setter
    def last_word(self, said: tuple[str, str]) -> None:
        content = _BETWEEN.join(part.encode(errors="replace") for part in said)[: len(self._text)]
        self._text[: len(content)] = content
        # Last, so that a reader sees all of it or nothing.
        self._last_word_bytes = len(content)


class Notices(SharedNumbers):
    """What concerns all processes of a supervisor.

    Attributes:
        published_s: when the newest report was put into the Manager dict, in monotonic seconds.
        released: written by the supervisor: not 0 while monitors shall let go of their devices.
        left: written by the supervisor: not 0 once it ends as planned, and leaves its companion to itself.
        published: set after a report was put there; the relay clears it.
    """

    numbers = 0
    published_s = _Number()
    released = _Number()
    left = _Number()

    def __init__(self) -> None:
        super().__init__()
        self.published = EventFdEvent()

    def note_published(self) -> None:
        """Note that a report was put into the Manager dict. Never waits."""
        self.published_s = time.monotonic()
        self.published.set()
