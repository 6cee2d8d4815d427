"""Loader workers that are killed, stopped or hang: told in time, and nobody waits for them without end."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data._utils import signal_handling

from pylon.data import DataLoader, LoaderWorkerError
from pylon.data.errors import DatasetDamagedError
from tests.data.samples import HungDataset, SampleDataset, StoppedDataset
from tests.faults.harness import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]

# On a machine with one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")


class StopError(Exception):
    pass


@pytest.fixture(autouse=True)
def workers_of_former_tests() -> Iterator[None]:
    """A test sees its own workers alone, and leaves none that would hold the interpreter's exit."""
    wait_until(lambda: multiprocessing.active_children() == [], 20, "workers of former tests are gone")
    yield
    for worker in multiprocessing.active_children():
        worker.kill()


KILLED_WITH_SIGCHLD_IGNORED = """
import os, signal
from pylon.data import DataLoader, LoaderWorkerError

signal.signal(signal.SIGCHLD, signal.SIG_IGN)

class Rows:
    def __len__(self):
        return 8
    def __getitem__(self, index):
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(index), 0

loader = DataLoader(Rows(), batch_size=2, num_workers=2)
try:
    list(loader)
except LoaderWorkerError as error:
    print(error)
loader.close()
"""


def stop() -> None:
    raise StopError


def state_of(pid: int | None) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def drain(loader: DataLoader) -> None:
    for _ in loader:
        time.sleep(0.8)  # a stopped worker then has batches on their way that it cannot hand over any more


def hung(name: str, num_workers: int, timeout_s: float | None = None) -> DataLoader:
    dataset = {"never returns": HungDataset, "is stopped": StoppedDataset}[name]("", "train")
    return DataLoader(dataset, batch_size=1, num_workers=num_workers, prefetch_factor=4, timeout_s=timeout_s)


@pytest.mark.ci
@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("name", ["never returns", "is stopped"])
def test_hung_worker_ends_the_epoch_after_its_time_and_is_gone_with_the_loader(
    name: str, num_workers: int
) -> None:
    loader = hung(name, num_workers, timeout_s=2)
    with pytest.raises(LoaderWorkerError) as raised:
        drain(loader)
    for word in (type(loader.dataset).__name__, f"its {num_workers} loader workers", "timeout_s=2.", "raise"):
        assert word in str(raised.value)
    workers = multiprocessing.active_children()
    loader.close()
    assert [worker for worker in workers if worker.is_alive()] == []


@pytest.mark.ci
@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("name", ["never returns", "is stopped"])
def test_who_waits_for_a_hung_worker_hears_a_request_to_end(name: str, persistent: bool) -> None:
    dataset = {"never returns": HungDataset, "is stopped": StoppedDataset}[name]("", "train")
    loader = DataLoader(
        dataset, batch_size=1, num_workers=1, prefetch_factor=4, persistent_workers=persistent
    )
    asked = threading.Event()
    loader.end_when(asked.is_set, stop)
    threading.Timer(3.0, asked.set).start()
    with pytest.raises(StopError):
        drain(loader)
    assert asked.is_set()
    loader.close()
    wait_until(lambda: multiprocessing.active_children() == [], 20, "the worker is gone")


def test_request_to_end_that_comes_between_batches_is_left_to_the_caller() -> None:
    loader = DataLoader(SampleDataset("", "train"), batch_size=1, num_workers=1)
    loader.end_when(lambda: True, stop)
    assert len(list(loader)) == 7
    loader.close()


class SlowDataset(SampleDataset):
    """Takes longer for a datapoint than torch is left to wait at a time."""

    def _load_datapoint(self, annotation: Any) -> Any:
        time.sleep(1.2)
        return super()._load_datapoint(annotation)


@pytest.mark.ci
def test_epoch_is_left_early_within_moments_however_many_of_its_workers_hang() -> None:
    loader = DataLoader(SampleDataset("", "train"), batch_size=1, num_workers=2, persistent_workers=False)
    batches = iter(loader)
    next(batches)
    for worker in multiprocessing.active_children():
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)
        wait_until(lambda pid=worker.pid: state_of(pid) == "T", 5, "the worker is stopped")
    begun_s = time.monotonic()
    batches.close()
    assert time.monotonic() - begun_s < 8
    loader.close()


def test_epoch_that_was_left_early_is_followed_by_another_however_slow_its_batches_are() -> None:
    loader = DataLoader(SlowDataset("", "test"), batch_size=1, num_workers=1, prefetch_factor=2)
    begun = iter(loader)
    next(begun)
    begun.close()
    assert len(list(loader)) == 3
    loader.close()


@pytest.mark.ci
@pytest.mark.parametrize("limited", [True, False])
def test_worker_that_hangs_in_an_epoch_that_was_left_does_not_hold_up_the_next_one(limited: bool) -> None:
    loader = hung("is stopped", 1, timeout_s=3 if limited else None)
    asked = threading.Event()
    loader.end_when(asked.is_set, stop)
    begun = iter(loader)
    next(begun)
    begun.close()
    if not limited:
        threading.Timer(2.0, asked.set).start()
    began_s = time.monotonic()
    with pytest.raises(LoaderWorkerError if limited else StopError):
        drain(loader)
    assert time.monotonic() - began_s < 15
    loader.close()
    wait_until(lambda: multiprocessing.active_children() == [], 20, "the worker is gone")


@pytest.mark.ci
def test_slow_batches_are_not_late() -> None:
    loader = DataLoader(SlowDataset("", "test"), batch_size=1, num_workers=1, timeout_s=30)
    assert len(list(loader)) == 3
    loader.close()


def test_death_of_a_worker_is_told_where_a_batch_is_waited_for_and_nowhere_else() -> None:
    former = signal.getsignal(signal.SIGCHLD)
    loader = DataLoader(SampleDataset("", "train"), batch_size=1, num_workers=1, prefetch_factor=1)
    batches = iter(loader)
    next(batches)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid or 0, signal.SIGKILL)
    wait_until(lambda: state_of(worker.pid) in "ZX" or not worker.is_alive(), 20, "the worker is dead")
    for _ in range(1000):
        time.sleep(0)  # where torch's handler would raise, in the middle of a training step
    assert signal.getsignal(signal.SIGCHLD) is former
    with pytest.raises(
        LoaderWorkerError, match=f"process {worker.pid} was killed by SIGKILL.*fewer num_workers"
    ):
        list(batches)
    loader.close()


def test_death_of_a_worker_while_the_others_start_is_told_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    begin_to_handle = signal_handling._set_SIGCHLD_handler

    def begin_and_kill() -> None:
        begin_to_handle()
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid or 0, signal.SIGKILL)
        wait_until(lambda: state_of(worker.pid) in "ZX" or not worker.is_alive(), 20, "the worker is dead")

    monkeypatch.setattr(signal_handling, "_set_SIGCHLD_handler", begin_and_kill)
    loader = DataLoader(SampleDataset("", "train"), batch_size=1, num_workers=1)
    with pytest.raises(LoaderWorkerError, match="was killed by SIGKILL"):
        list(loader)
    loader.close()


def test_handler_that_a_loader_of_the_user_has_set_does_not_raise_in_a_step(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(WITH_A_LOADER_OF_THE_USER)
    ended = subprocess.run(
        [sys.executable, program], cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.stdout.split(), ended.stderr) == (["their", "handler", "step", "LoaderWorkerError"], "")


WITH_A_LOADER_OF_THE_USER = """
import multiprocessing, os, signal, time
import torch
from pylon.data import DataLoader, LoaderWorkerError
from tests.data.samples import SampleDataset

if __name__ == "__main__":
    list(torch.utils.data.DataLoader(range(4), num_workers=1))
    if callable(signal.getsignal(signal.SIGCHLD)):
        print("their handler")
    loader = DataLoader(SampleDataset("", "train"), batch_size=1, num_workers=1, prefetch_factor=1)
    batches = iter(loader)
    next(batches)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    time.sleep(0.5)
    print("step")
    try:
        list(batches)
    except LoaderWorkerError:
        print("LoaderWorkerError")
    loader.close()
"""


def test_worker_that_dies_with_the_lock_that_all_share_ends_the_epoch() -> None:
    loader = DataLoader(SampleDataset("", "train"), batch_size=1, num_workers=1, prefetch_factor=1)
    batches = iter(loader)
    next(batches)
    (worker,) = multiprocessing.active_children()
    iterator: Any = loader._iterator
    # As if the worker had been in the middle of asking for it.
    with iterator._workers_done_event._event._cond:
        os.kill(worker.pid or 0, signal.SIGKILL)
        with pytest.raises(LoaderWorkerError, match=f"process {worker.pid} was killed by SIGKILL"):
            list(batches)
        loader.close()


def test_error_that_a_dataset_raises_is_no_death_of_its_worker() -> None:
    class Broken(SampleDataset):
        def _load_datapoint(self, annotation):
            raise ConnectionResetError("the object store hung up")

    loader = DataLoader(Broken("", "train"), batch_size=1, num_workers=1)
    with pytest.raises(DatasetDamagedError, match="ConnectionResetError: the object store hung up"):
        list(loader)
    loader.close()


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan"), float("inf")])
def test_time_that_is_none_is_refused(timeout_s: float) -> None:
    with pytest.raises(ValueError, match=r"timeout_s: .*expected more than 0 s, or None"):
        DataLoader(SampleDataset("", "train"), batch_size=1, timeout_s=timeout_s)


def test_without_workers_nothing_is_watched() -> None:
    loader = DataLoader(SampleDataset("", "train"), batch_size=1, timeout_s=0.5)
    threads = set(threading.enumerate())
    batches = iter(loader)
    next(batches)
    assert set(threading.enumerate()) <= threads
    assert len(list(batches)) == 6


def test_killed_worker_ends_the_epoch_where_the_ends_of_children_were_ignored() -> None:
    """Some daemons that start jobs ignore SIGCHLD, and what they start does it then too."""
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_WITH_SIGCHLD_IGNORED],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        timeout=40,
        check=True,
    )
    assert b"was killed by SIGKILL" in ended.stdout
