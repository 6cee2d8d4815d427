"""Few connects at a time: each costs key exchange and signatures here and a process there."""

import contextlib
import random
import threading
import time
from collections.abc import Iterator

# Between looks at whether the monitor is ending.
_LOOK_EVERY_S = 0.2


class ConnectLimiter:
    """Lets few connects be under way at once, and starts them with a space between.

    Servers whose last try has failed have a lane of their own: many that hang until their time limit
    must not keep those waiting that would answer.

    Args:
        parallel: how many first tries may be under way, at least 1.
        parallel_again: how many further tries, likewise.
        spacing_s: between two starts, give or take a half: what bounds the CPU time for connecting.
    """

    def __init__(self, parallel: int, parallel_again: int, spacing_s: float) -> None:
        self._lanes = {False: threading.Semaphore(parallel), True: threading.Semaphore(parallel_again)}
        self._spacing_s = spacing_s
        self._random = random.Random()
        self._lock = threading.Lock()
        self._next_s = 0.0

    @contextlib.contextmanager
    def passage(self, closed: threading.Event, *, again: bool) -> Iterator[bool]:
        """Wait for a turn, and hold it. Gives False once `closed` is set: then there is no turn."""
        lane = self._lanes[again]
        while not lane.acquire(timeout=_LOOK_EVERY_S):
            if closed.is_set():
                yield False
                return
        try:
            yield not closed.wait(self._until_turn_s())
        finally:
            lane.release()

    def _until_turn_s(self) -> float:
        with self._lock:
            now = time.monotonic()
            turn_s = max(now, self._next_s)
            self._next_s = turn_s + self._spacing_s * self._random.uniform(0.5, 1.5)
        return turn_s - now
