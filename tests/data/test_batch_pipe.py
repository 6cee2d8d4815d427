"""A worker that is killed or stopped when half of its batch is in the pipe."""

import array
import fcntl
import multiprocessing
import os
import queue
import signal
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from pylon.data import DataLoader, LoaderWorkerError
from pylon.data.batch_pipe import BatchPipe
from tests.faults.harness import wait_until

pytestmark = [
    # On a machine with one core.
    pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes"),
    pytest.mark.timeout(60),
]
_LONG, _SHORT = 1_000_000, 10


class Texts:
    """Those of the first of two workers do not fit into a pipe."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"text": "x" * (_SHORT if index % 2 else _LONG)}


class StopError(Exception):
    pass


def stop() -> None:
    raise StopError


def length(batch: Any) -> int:
    return len(batch["inputs"]["text"][0])


def filled(iterator: Any) -> bool:
    """Whether the pipe is as full as a batch makes it that does not fit."""
    count = array.array("i", [0])
    fcntl.ioctl(iterator._worker_result_queue._reader.fileno(), termios.FIONREAD, count)
    return count[0] > 60_000


def half_written(loader: DataLoader) -> tuple[Iterator[Any], BaseProcess]:
    """The rest of an epoch, and the worker that is in the middle of handing over a batch."""
    batches = iter(loader)
    assert length(next(batches)) == _LONG
    iterator: Any = loader._iterator
    wait_until(lambda: filled(iterator), 20, "half of a batch is in the pipe")
    return batches, iterator._workers[0]


@pytest.mark.ci
@pytest.mark.parametrize("num_workers", [1, 2])
def test_worker_that_is_killed_in_the_middle_of_a_batch_ends_the_epoch(num_workers: int) -> None:
    loader = DataLoader(Texts(), batch_size=1, num_workers=num_workers)
    batches, worker = half_written(loader)
    os.kill(worker.pid or 0, signal.SIGKILL)
    with pytest.raises(LoaderWorkerError, match=f"process {worker.pid} was killed by SIGKILL"):
        list(batches)
    begun_s = time.monotonic()
    loader.close()
    assert time.monotonic() - begun_s < 10
    assert [one for one in multiprocessing.active_children() if one.is_alive()] == []


@pytest.mark.parametrize("limited", [True, False])
def test_worker_that_is_stopped_there_is_waited_for_as_long_as_any_that_hangs(limited: bool) -> None:
    loader = DataLoader(Texts(), batch_size=1, num_workers=2, timeout_s=2 if limited else None)
    asked = threading.Event()
    loader.end_when(asked.is_set, stop)
    batches, worker = half_written(loader)
    os.kill(worker.pid or 0, signal.SIGSTOP)
    if not limited:
        threading.Timer(2.0, asked.set).start()
    with pytest.raises(LoaderWorkerError if limited else StopError):
        list(batches)
    loader.close()
    assert [one for one in multiprocessing.active_children() if one.is_alive()] == []


def test_long_batches_arrive_whole_in_each_epoch() -> None:
    loader = DataLoader(Texts(), batch_size=1, num_workers=2)
    for _ in range(2):
        lengths = [length(batch) for batch in loader]
        assert lengths == [_LONG, _SHORT] * 6
    loader.close()


class Worker:
    def __init__(self, *, alive: bool) -> None:
        self._alive = alive

    def is_alive(self) -> bool:
        return self._alive


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_half_a_message_of_a_dead_worker_ends_reading_on_any_thread(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"half")
    reader: Any = BatchPipe(pipe[0], [Worker(alive=False), Worker(alive=True)], [True, True])  # type: ignore[list-item]
    with ThreadPoolExecutor() as threads, pytest.raises(queue.Empty):
        threads.submit(reader.receive, 8).result(timeout=10)


def test_worker_that_has_no_more_to_load_may_be_gone_while_another_writes(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"half")
    reader: Any = BatchPipe(pipe[0], [Worker(alive=False), Worker(alive=True)], [False, True])  # type: ignore[list-item]
    threading.Timer(1.5, os.write, (pipe[1], b"full")).start()
    assert reader.receive(8).getvalue() == b"halffull"


def test_pipe_that_ends_is_an_end() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with pytest.raises(EOFError):
        BatchPipe(reading, [], []).receive(1)
    os.close(reading)
