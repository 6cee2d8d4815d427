"""Loader workers that are killed or hang: seen between two steps, and never waited for without end.

loader ── waits for a batch ──> torch looks up every POLL_S ──> a stop request, too late, a dead worker
watch (a thread) ── the wait does not end all the same ──> SIGKILL to the workers, which ends it
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from typing import Any, Self

import torch
from torch.utils.data._utils import signal_handling

from pylon.threads import NO_ROOM, started

POLL_S = 1.0
# Longer than most datapoints take; together with POLL_S below the 5 s that a stopped run is given.
_GRACE_S = 2.0


class WorkerWatch:
    """Knows how long a batch has been waited for, and frees the waiting thread from a worker that hangs.

    A batch's memory is handed over by its worker itself. One that is stopped in the middle of that blocks
    the receiver in the kernel, where no time-out of torch counts and signals change nothing.

    Args:
        workers: the processes.
        timeout_s: how long a batch may take; None: no limit.
        asked: whether the waiting must end; called from another thread.

    Attributes:
        timeout_s: the same.
    """

    def __init__(
        self, workers: Sequence[BaseProcess], timeout_s: float | None, asked: Callable[[], bool]
    ) -> None:
        self._workers = workers
        self.timeout_s = timeout_s
        self._asked = asked
        self._since_s: float | None = None
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        """Begin to watch."""
        # Where no thread can be started, batches are waited for as torch does it.
        started(threading.Thread(target=self._watch, name="loader watch", daemon=True))
        return self

    def __exit__(self, *_: object) -> None:
        """End watching."""
        self._ended.set()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Run the block that waits for one batch."""
        self._since_s = time.monotonic()
        try:
            yield
        finally:
            self._since_s = None

    def is_overdue(self, grace_s: float = 0.0) -> bool:
        """Whether a batch is waited for, and for longer than it may take."""
        since_s = self._since_s
        if since_s is None or self.timeout_s is None:
            return False
        return time.monotonic() - since_s >= self.timeout_s + grace_s

    def deaths(self, within_s: float = 0.0) -> str:
        """What the dead workers died of; the first death is waited for: its connections break before it."""
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s and all(worker.exitcode is None for worker in self._workers):
            time.sleep(0.01)
        return ", ".join(
            f"process {worker.pid} {_cause(worker.exitcode)}" for worker in self._workers if worker.exitcode
        )

    def _watch(self) -> None:
        unanswered_s: float | None = None
        while not self._ended.wait(POLL_S / 2):
            since_s = self._since_s
            if since_s is None or not self._asked():
                unanswered_s = None
            elif unanswered_s is None:
                unanswered_s = time.monotonic()
            unanswered = unanswered_s is not None and time.monotonic() - unanswered_s > 2 * POLL_S
            # torch, which sees both within POLL_S unless it is blocked, has had its turn.
            if since_s is not None and (unanswered or self.is_overdue(2 * POLL_S)):
                kill(self._workers)


def end_workers(iterator: Any) -> None:  # noqa: ANN401 - torch's iterator, a private class
    """End the workers of one of torch's iterators: ask, and kill those that do not respond.

    Left to the garbage collector, they may find their queues closed before they are asked to end, and torch
    waits 5 s for each; a stopped one would also block the interpreter's exit without a limit.
    """
    workers = list(iterator._workers)
    timer = threading.Timer(_GRACE_S, kill, [workers])
    timer.daemon = True
    if not started(timer):  # without it there is no limit of time
        kill(workers)
    try:
        # There is no public way: torch ends workers when their iterator is freed, and not before.
        iterator._shutdown_workers()
    except RuntimeError as error:  # asking takes a thread, too
        if NO_ROOM not in str(error):
            raise
    finally:
        timer.cancel()
        kill(workers)


def kill(workers: Sequence[BaseProcess]) -> None:
    """End those that are still alive at once."""
    for worker in workers:
        if worker.is_alive():
            worker.kill()


@contextlib.contextmanager
def no_handler_for_deaths() -> Iterator[None]:
    """Keep torch from handling SIGCHLD, as it would from its first worker on.

    Its handler raises when a worker dies, in whatever the main thread is doing: half an optimizer step. A
    dead worker is seen without it, by the code that waits for a batch. There is no public way.
    """
    former = signal_handling._SIGCHLD_handler_set
    signal_handling._SIGCHLD_handler_set = True
    try:
        yield
    finally:
        signal_handling._SIGCHLD_handler_set = former


def hide_from_handler(iterator: Any) -> None:  # noqa: ANN401 - torch's iterator, a private class
    """Keep a handler of torch that another loader has set, such as one of the user, from these workers."""
    if iterator._worker_pids_set:
        torch._C._remove_worker_pids(id(iterator))
        iterator._worker_pids_set = False


def _cause(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"ended with exit code {exit_code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"was killed by signal {-exit_code}"
