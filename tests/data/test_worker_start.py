"""Workers that die in their start, or by themselves: their end is told, however much they were to read."""

import fcntl
import mmap
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from pylon.data import DataLoader, LoaderWorkerError, worker_start
from pylon.data.worker_start import dead_workers_not_waited_for

pytestmark = [
    # On a machine with one core.
    pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes"),
    pytest.mark.timeout(90),
]


NoRoom = Callable[[], AbstractContextManager[None]]


class EndsInItsStart:
    """Whoever gets it is killed, with all that follows it not read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return end, (os.getpid(),)


def end(parent: int) -> None:
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class Rows:
    def __init__(self, size: int) -> None:
        self.ends = EndsInItsStart()
        self.paths = "x" * size

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return float(index), 0


@pytest.mark.ci
@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_worker_that_dies_before_it_has_read_its_dataset_ends_the_epoch(start_method: str, size: int) -> None:
    loader = DataLoader(Rows(size), batch_size=2, num_workers=2, multiprocessing_context=start_method)
    begun_s = time.monotonic()
    with pytest.raises(LoaderWorkerError, match=r"died in its start|was killed by SIGKILL"):
        list(loader)
    loader.close()
    assert time.monotonic() - begun_s < 40


def test_worker_that_is_dead_before_the_watch_has_begun_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = worker_start._watch

    def begun_late(*arguments: Any) -> None:
        time.sleep(1.0)
        watch(*arguments)

    monkeypatch.setattr(worker_start, "_watch", begun_late)
    loader = DataLoader(Rows(3_000_000), batch_size=2, num_workers=2, multiprocessing_context="spawn")
    with pytest.raises(LoaderWorkerError, match=r"was killed by SIGKILL"):
        list(loader)
    loader.close()


@pytest.mark.parametrize("pages", [1, 2, 16])
def test_full_pipe_is_emptied_only_when_no_process_can_read_it(pages: int) -> None:
    with dead_workers_not_waited_for("spawn"):
        reading, writing = os.pipe()
        # The kernel gives fewer pages than 16 to a user who has many pipes.
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, pages * mmap.PAGESIZE)
        alive = subprocess.Popen(["sleep", "60"], pass_fds=[reading])
        dead = subprocess.Popen(["true"])
        hand_over = threading.Thread(target=os.write, args=(writing, b"x" * 200_000))
        hand_over.start()
        time.sleep(1.0)
        assert hand_over.is_alive()
        alive.kill()
        hand_over.join(10)
        assert not hand_over.is_alive()
    for process in (alive, dead):
        process.wait()
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_workers_without_room_for_their_threads_are_ended_and_the_limit_is_named(
    no_room_for_threads: NoRoom, start_method: str
) -> None:
    loader = DataLoader(Fine(), batch_size=2, num_workers=2, multiprocessing_context=start_method)
    with (
        no_room_for_threads(),
        pytest.raises(LoaderWorkerError, match=r"Fine: its 2 loader workers cannot be started.*--pids-limit"),
    ):
        list(loader)
    loader.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("persistent_workers", [True, False])
def test_loader_ends_its_workers_where_no_thread_can_be_started_any_more(
    no_room_for_threads: NoRoom, persistent_workers: bool
) -> None:
    loader = DataLoader(Fine(), batch_size=2, num_workers=2, persistent_workers=persistent_workers)
    batches = iter(loader)
    next(batches)
    del batches
    with no_room_for_threads():
        loader.close()
    assert multiprocessing.active_children() == []


def test_next_epoch_of_the_same_workers_goes_without_a_watch_where_no_thread_can_be_started(
    no_room_for_threads: NoRoom,
) -> None:
    loader = DataLoader(Fine(), batch_size=2, num_workers=2, persistent_workers=True)
    first = list(loader)
    with no_room_for_threads():
        assert len(list(loader)) == len(first)
        loader.close()


class Fine:
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return float(index), 0


class Ends:
    def __init__(self, code: int) -> None:
        self.code = code

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        os._exit(self.code)


@pytest.mark.parametrize("code", [0, 3])
def test_worker_that_ends_itself_is_no_matter_of_memory(code: int) -> None:
    loader = DataLoader(Ends(code), batch_size=2, num_workers=1)
    with pytest.raises(LoaderWorkerError, match=f"ended with exit code {code}.*num_workers=0") as raised:
        list(loader)
    assert "memory" not in str(raised.value)
    loader.close()
