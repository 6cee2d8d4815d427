"""The pipe that batches come through, if a worker was killed when only half of one was written."""

import io
import itertools
import os
import queue
import select
import weakref
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from pylon.data.worker_watch import POLL_S


class BatchPipe:
    """Reads as the connection of torch's queue does, but not without end.

    A batch that does not fit into the pipe, as one with long texts, is written while it is read. A worker
    that is killed then leaves a half, and keeps the lock for writing. As this process and the other workers
    hold the pipe open, its end never comes, and who reads would wait for the other half without a limit.

    Args:
        descriptor: to read from.
        iterator: gives torch's iterator, whose workers write; None when it is freed.
    """

    def __init__(self, descriptor: int, iterator: Callable[[], Any]) -> None:
        self._descriptor = descriptor
        self._iterator = iterator

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
            if any(not worker.is_alive() for worker in self._expected()):
                raise queue.Empty

    def _expected(self) -> list[BaseProcess]:
        """Workers of which a batch comes, or would if they were alive."""
        iterator = self._iterator()
        # In the making of the iterator they all are; later False stands for one that has ended, and for one
        # whose death torch has seen.
        working = getattr(iterator, "_workers_status", itertools.repeat(True))
        pairs = zip(getattr(iterator, "_workers", ()), working, strict=False)
        return [worker for worker, works in pairs if works or worker.exitcode]


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


class PinningEndedError(Exception):
    """torch's thread that pins memory has ended of an error, which Python has printed."""


class WorkerIterator(_MultiProcessingDataLoaderIter):
    """torch's iterator, whose queue of batches is read with patience from its first batch on.

    torch makes the queue, starts the workers and the thread that pins memory, and asks for the first batches,
    all in one call: later that thread is already in the middle of its first look into the queue.
    """

    _pinning: PinningQueue | None = None

    @property
    def _worker_result_queue(self) -> Any:  # noqa: ANN401 - of torch.multiprocessing
        return self._batches

    @_worker_result_queue.setter
    def _worker_result_queue(self, batches: Any) -> None:  # noqa: ANN401 - of torch.multiprocessing
        self._batches = batches
        connection = getattr(batches._reader, "conn", batches._reader)
        # There is no public way: the connection reads by this method alone, on any thread.
        connection._recv = BatchPipe(connection.fileno(), weakref.ref(self)).receive
        if self._pin_memory:
            self._pinning = PinningQueue(batches)
            batches.get, batches._poll = self._pinning.get, self._pinning.poll

    def pinning_error(self) -> Exception | None:
        """Why the thread that pins memory gives no batch; None if it may, or there is none."""
        if self._pinning is None:
            return None
        if self._pinning.error is None and not self._pin_memory_thread.is_alive():
            return PinningEndedError()
        return self._pinning.error
