"""The pipe that batches come through, if a worker was killed when only half of one was written."""

import io
import os
import queue
import select
import weakref
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from typing import Any

from pylon.data.worker_watch import POLL_S


class BatchPipe:
    """Reads as the connection of torch's queue does, but not without end.

    A batch that does not fit into the pipe, as one with long texts, is written while it is read. A worker
    that is killed then leaves a half, and keeps the lock for writing. As this process and the other workers
    hold the pipe open, its end never comes, and who reads would wait for the other half without a limit.

    Args:
        descriptor: to read from.
        workers: that write.
        working: torch's list of which of them still have batches to load.
    """

    def __init__(self, descriptor: int, workers: Sequence[BaseProcess], working: Sequence[bool]) -> None:
        self._descriptor = descriptor
        self._workers = workers
        self._working = working

    def receive(self, size: int) -> io.BytesIO:
        """The next `size` bytes.

        Raises:
            queue.Empty: a worker is dead and no more bytes come, so that torch looks for the dead one.
            EOFError: the pipe has ended.
        """
        received = io.BytesIO()
        while (left := size - received.tell()) > 0:
            self._wait()
            chunk = os.read(self._descriptor, left)
            if not chunk:
                raise EOFError
            received.write(chunk)
        return received

    def _wait(self) -> None:
        bytes_come = select.poll()
        bytes_come.register(self._descriptor, select.POLLIN)
        while not bytes_come.poll(1000 * POLL_S):
            pairs = zip(self._workers, self._working, strict=True)
            # torch's list is False for a worker that has ended, and for one whose death it has seen.
            if any((works or worker.exitcode) and not worker.is_alive() for worker, works in pairs):
                raise queue.Empty


class PinningQueue:
    """Batches for torch's thread that copies them to page-locked memory, which must not die of an error.

    Without that thread a batch would be waited for without a limit, its traceback would be printed, and a
    thread that reads for long is waited for when the workers are ended.

    Args:
        batches: the queue that the workers write to.

    Attributes:
        error: what taking a batch out has raised, as of a worker that died while it handed one over.
    """

    def __init__(self, batches: Any) -> None:  # noqa: ANN401 - of torch.multiprocessing
        # The queue will hold this.
        self._batches = weakref.ref(batches)
        self._poll = batches._reader.poll
        self.error: Exception | None = None

    def get(self, **timeout: float) -> Any:  # noqa: ANN401 - any batch
        """A batch. Raises queue.Empty if none comes, or it cannot be taken out."""
        batches: Any = self._batches()
        try:
            return type(batches).get(batches, **timeout)
        except queue.Empty:
            raise
        except Exception as error:
            self.error = error
            raise queue.Empty from error

    def poll(self, timeout: float = 0.0) -> bool:
        """Whether a batch comes within so many seconds, but POLL_S at most: then the thread looks up."""
        return bool(self._poll(min(timeout, POLL_S)))


def read_batches_patiently(iterator: Any) -> PinningQueue | None:  # noqa: ANN401 - torch's, a private class
    """Let the iterator read its workers' batches by a BatchPipe, until its next epoch begins.

    Returns:
        What a thread of torch reads from, if there is one.
    """
    batches = iterator._worker_result_queue
    reader = batches._reader
    connection = getattr(reader, "conn", reader)
    # There is no public way: the connection reads by this method alone, on any thread.
    connection._recv = BatchPipe(connection.fileno(), iterator._workers, iterator._workers_status).receive
    if not hasattr(iterator, "_pin_memory_thread"):
        return None
    known: Any = getattr(batches.get, "__self__", None)
    if isinstance(known, PinningQueue):
        return known
    pinning = PinningQueue(batches)
    batches.get, batches._poll = pinning.get, pinning.poll
    return pinning
