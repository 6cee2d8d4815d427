"""Reading of files for answers: few at a time, each with a time limit, the same question only once.

A file system that hangs stops a worker, and the answers that need one; the page and its figures go on, and
the process can end.
"""

import asyncio
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass

from pylon.views.web.errors import BusyError, SlowError

_WORKERS = 2
_MOST_WAITING = 16
_LIMIT_S = 20.0
# What is asked for again and again by many browsers is made again for a bounded share of the time.
_LEAST_AGE_S = 2.0
_SHARE = 10
_LONGEST_AGE_S = 60.0
_MOST_KEPT_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class _Made:
    stamp: Hashable
    at_s: float
    took_s: float
    text: bytes

    def serves(self, stamp: Hashable) -> bool:
        age_s = time.monotonic() - self.at_s
        return age_s < max(_LEAST_AGE_S, _SHARE * self.took_s) or (
            stamp == self.stamp and age_s < _LONGEST_AGE_S
        )


class Workers:
    """Threads that make answers.

    Args:
        limit_s: how long an answer is waited for.
    """

    def __init__(self, limit_s: float = _LIMIT_S) -> None:
        self._limit_s = limit_s
        self._queue: queue.Queue[Callable[[], None]] = queue.Queue(_MOST_WAITING)
        self._made: OrderedDict[Hashable, _Made] = OrderedDict()
        self._being_made: dict[Hashable, asyncio.Future[_Made]] = {}
        self._started = False

    async def answer(self, key: Hashable, stamp: Hashable, make: Callable[[], bytes]) -> bytes:
        """What `make` gives, now or a short while ago.

        Args:
            key: of the question.
            stamp: what the answer depends on.
            make: runs in a thread of its own.

        Raises:
            BusyError: too many questions wait.
            SlowError: it takes too long.
        """
        known = self._made.get(key)
        if known is not None and known.serves(stamp):
            return known.text
        future = self._being_made.get(key)
        if future is None:
            future = self._begun(key, stamp, make)
        try:
            made = await asyncio.wait_for(asyncio.shield(future), self._limit_s)
        except TimeoutError:
            raise SlowError(f"the records could not be read within {self._limit_s:g} s") from None
        return made.text

    def _begun(self, key: Hashable, stamp: Hashable, make: Callable[[], bytes]) -> "asyncio.Future[_Made]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Made] = loop.create_future()

        def work() -> None:
            began_s = time.monotonic()
            try:
                text = make()
            except Exception as error:  # noqa: BLE001 - it is of who waits for the answer
                _pass_on(loop, _failed, future, error)
                return
            done_s = time.monotonic()
            _pass_on(loop, _done, future, _Made(stamp, done_s, done_s - began_s, text))

        self._start()
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            raise BusyError("too many questions wait for records") from None
        self._being_made[key] = future
        future.add_done_callback(lambda done: self._keep(key, done))
        return future

    def _keep(self, key: Hashable, done: "asyncio.Future[_Made]") -> None:
        self._being_made.pop(key, None)
        if done.cancelled() or done.exception() is not None:
            return
        self._made[key] = done.result()
        self._made.move_to_end(key)
        while len(self._made) > 1 and sum(len(one.text) for one in self._made.values()) > _MOST_KEPT_BYTES:
            self._made.popitem(last=False)

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        for number in range(_WORKERS):
            threading.Thread(target=self._work, name=f"answers-{number}", daemon=True).start()

    def _work(self) -> None:
        while True:
            self._queue.get()()


def _pass_on(loop: asyncio.AbstractEventLoop, action: Callable[..., None], *arguments: object) -> None:
    # The server has ended meanwhile: no request waits for the answer.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(action, *arguments)


def _done(future: "asyncio.Future[_Made]", made: _Made) -> None:
    if not future.done():
        future.set_result(made)


def _failed(future: "asyncio.Future[_Made]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
