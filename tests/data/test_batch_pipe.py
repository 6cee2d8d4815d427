"""A worker that is killed or stopped when half of its batch is in the pipe."""

import array
import fcntl
import os
import queue
import signal
import sys
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
import torch

from pylon.data import DataLoader, LoaderWorkerError
from pylon.data.batch_pipe import BatchPipe
from tests.faults.harness import wait_until
from tests.shutdown.workers import begin_to_pin_memory

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


class EndlessTexts(Texts):
    def __len__(self) -> int:
        return 100_000


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


def half_written(loader: DataLoader) -> tuple[Iterator[Any], list[BaseProcess]]:
    """The rest of an epoch, and the workers, the first of which is in the middle of handing over a batch."""
    batches = iter(loader)
    assert length(next(batches)) == _LONG
    iterator: Any = loader._iterator
    wait_until(lambda: filled(iterator), 20, "half of a batch is in the pipe")
    return batches, list(iterator._workers)


@pytest.mark.ci
@pytest.mark.parametrize("num_workers", [1, 2])
def test_worker_that_is_killed_in_the_middle_of_a_batch_ends_the_epoch(num_workers: int) -> None:
    loader = DataLoader(Texts(), batch_size=1, num_workers=num_workers)
    batches, workers = half_written(loader)
    os.kill(workers[0].pid or 0, signal.SIGKILL)
    with pytest.raises(LoaderWorkerError, match=f"process {workers[0].pid} was killed by SIGKILL"):
        list(batches)
    begun_s = time.monotonic()
    loader.close()
    assert time.monotonic() - begun_s < 10
    assert [one for one in workers if one.is_alive()] == []


@pytest.mark.parametrize("limited", [True, False])
def test_worker_that_is_stopped_there_is_waited_for_as_long_as_any_that_hangs(limited: bool) -> None:
    loader = DataLoader(Texts(), batch_size=1, num_workers=2, timeout_s=2 if limited else None)
    asked = threading.Event()
    loader.end_when(asked.is_set, stop)
    batches, workers = half_written(loader)
    os.kill(workers[0].pid or 0, signal.SIGSTOP)
    if not limited:
        threading.Timer(2.0, asked.set).start()
    with pytest.raises(LoaderWorkerError if limited else StopError):
        list(batches)
    loader.close()
    assert [one for one in workers if one.is_alive()] == []


@pytest.fixture
def pinning_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's thread that copies batches to page-locked memory, without an accelerator and the copy."""
    begin_to_pin_memory(monkeypatch.setattr)


def reads_half(iterator: Any) -> bool:
    frame = sys._current_frames().get(iterator._pin_memory_thread.ident)
    while frame is not None and frame.f_code is not BatchPipe._wait.__code__:
        frame = frame.f_back
    return frame is not None


@pytest.mark.ci
@pytest.mark.usefixtures("pinning_thread")
@pytest.mark.parametrize("persistent", [True, False])
def test_thread_that_pins_memory_and_has_half_a_batch_is_no_reason_to_wait(*, persistent: bool) -> None:
    loader = DataLoader(
        EndlessTexts(),
        batch_size=1,
        num_workers=1,
        pin_memory=True,
        prefetch_factor=4,
        persistent_workers=persistent,
    )
    batches = iter(loader)
    next(batches)
    iterator: Any = loader._newest()
    (worker,) = iterator._workers
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        os.kill(worker.pid, signal.SIGSTOP)
        time.sleep(0.05)
        if reads_half(iterator):
            break
        os.kill(worker.pid, signal.SIGCONT)
        next(batches)
    else:
        pytest.fail("the thread was never met in the middle of a batch")
    # Both threads look each second: so long before the other that the loader sees the death first.
    time.sleep(0.4)
    threading.Timer(0.85, os.kill, (worker.pid, signal.SIGKILL)).start()
    begun_s = time.monotonic()
    with pytest.raises(LoaderWorkerError, match=f"process {worker.pid} was killed by SIGKILL"):
        list(batches)
    loader.close()
    assert time.monotonic() - begun_s < 15
    assert not iterator._pin_memory_thread.is_alive()


@pytest.mark.usefixtures("pinning_thread")
@pytest.mark.parametrize("broken", [0, 5])
def test_batch_that_the_pinning_thread_cannot_rebuild_ends_the_epoch_without_a_traceback(
    broken: int, capfd: pytest.CaptureFixture[str]
) -> None:
    loader = DataLoader(BrokenTexts(broken), batch_size=1, num_workers=1, pin_memory=True, prefetch_factor=1)
    with pytest.raises(LoaderWorkerError, match="of this kind there is none here"):
        list(loader)
    loader.close()
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("pinning_thread")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_pinning_thread_that_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_device(_index: int) -> None:
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(torch.accelerator, "set_device_index", no_device)
    loader = DataLoader(Texts(), batch_size=1, num_workers=1, pin_memory=True)
    with pytest.raises(LoaderWorkerError, match="with the error printed above"):
        list(loader)
    loader.close()


class BrokenTexts(Texts):
    def __init__(self, broken: int) -> None:
        self.broken = broken

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"text": Unreadable() if index == self.broken else "x"}


class Unreadable(str):
    """Can be sent and not be received."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse, ()


def refuse() -> None:
    raise OSError("of this kind there is none here")


def test_long_batches_arrive_whole_in_each_epoch() -> None:
    loader = DataLoader(Texts(), batch_size=1, num_workers=2)
    for _ in range(2):
        lengths = [length(batch) for batch in loader]
        assert lengths == [_LONG, _SHORT] * 6
    loader.close()


class Worker:
    def __init__(self, *, alive: bool, exitcode: int | None = None) -> None:
        self._alive = alive
        self.exitcode = exitcode

    def is_alive(self) -> bool:
        return self._alive


DEAD, ALIVE = Worker(alive=False), Worker(alive=True)


class Writers:
    """An iterator's workers; before torch has a list of those that still work, if there is no `working`."""

    def __init__(self, *workers: Worker, working: list[bool] | None = None) -> None:
        self._workers = workers
        if working is not None:
            self._workers_status = working

    def __call__(self) -> "Writers":
        return self


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_half_a_message_of_a_dead_worker_ends_reading_on_any_thread(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"half")
    reader = BatchPipe(pipe[0], Writers(DEAD, ALIVE))
    with ThreadPoolExecutor() as threads, pytest.raises(queue.Empty):
        threads.submit(reader.receive, 8).result(timeout=10)


def test_worker_that_has_no_more_to_load_may_be_gone_while_another_writes(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"half")
    reader = BatchPipe(pipe[0], Writers(DEAD, ALIVE, working=[False, True]))
    threading.Timer(1.5, os.write, (pipe[1], b"full")).start()
    assert reader.receive(8).getvalue() == b"halffull"


def test_worker_whose_death_torch_has_noted_is_as_dead(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"half")
    reader = BatchPipe(pipe[0], Writers(Worker(alive=False, exitcode=-9), working=[False]))
    with pytest.raises(queue.Empty):
        reader.receive(8)


def test_pipe_that_ends_is_an_end() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with pytest.raises(EOFError):
        BatchPipe(reading, Writers()).receive(1)
    os.close(reading)
