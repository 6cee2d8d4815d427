"""A lock among processes that the kernel takes back from one that dies."""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator

_RETRY_S = 0.0005


class ProcessLock:
    """A POSIX record lock on an open file, and a thread lock next to it.

    The locks of `multiprocessing` have no owner: a process that is SIGKILLed inside one leaves it
    locked indefinitely. A record lock belongs to a process and ends with it. Within a process it does
    not keep threads apart, hence the second lock.

    Args:
        descriptor: of the file, open for writing. Closing any descriptor of the same file in this
            process would open the lock, so no other part of the process may use the file.
        timeout_s: how long to wait for the lock; a holder may be stopped.
    """

    def __init__(self, descriptor: int, timeout_s: float) -> None:
        self._descriptor = descriptor
        self._timeout_s = timeout_s
        self._threads, self._process_id = threading.Lock(), os.getpid()

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Run the block with the lock; yield False, and run without it, if it is not free in time."""
        deadline = time.monotonic() + self._timeout_s
        threads = self._thread_lock()
        if not threads.acquire(timeout=self._timeout_s):
            yield False
            return
        try:
            locked = self._lock_until(deadline)
            try:
                yield locked
            finally:
                if locked:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        finally:
            threads.release()

    def _lock_until(self, deadline: float) -> bool:
        while True:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_RETRY_S)
            else:
                return True

    def _thread_lock(self) -> threading.Lock:
        if self._process_id != os.getpid():
            # A forked child: the thread that held the lock at the fork, if any, does not exist here.
            self._threads, self._process_id = threading.Lock(), os.getpid()
        return self._threads
