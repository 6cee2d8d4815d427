"""The pipe that batches come through, if a worker was killed when only half of one was written."""

import io
import os
import queue
import select
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
            if any(works and not worker.is_alive() for worker, works in pairs):
                raise queue.Empty


def read_batches_patiently(iterator: Any) -> None:  # noqa: ANN401 - torch's iterator, a private class
    """Let the iterator read its workers' batches by a BatchPipe, until its next epoch begins."""
    reader = iterator._worker_result_queue._reader
    connection = getattr(reader, "conn", reader)
    # There is no public way: the connection reads by this method alone, on any thread.
    connection._recv = BatchPipe(connection.fileno(), iterator._workers, iterator._workers_status).receive
