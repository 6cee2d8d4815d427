"""Checkpoints written in a thread beside the training: of one moment each, never lost, never two at once."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from pylon.runners.errors import RunStopped, TrainingError
from pylon.runners.run_directory.checkpoint import Progress
from pylon.runners.run_directory.checkpointing import Checkpointing
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.saving import Saver
from pylon.runners.run_directory.snapshots import Snapshot, copied
from tests.runners.conftest import Toy
from tests.runners.run_directory.saves import moment, opened_saver
from tests.runners.run_directory.test_disk import runner
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on, numbers

ASYNCHRONOUS = runner(every_steps=1, asynchronous=True)


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[Saver]:
    with opened_saver(tmp_path, Checkpointing(asynchronous=True)) as saver:
        yield saver


@pytest.mark.slow
def test_the_bits_are_those_of_a_run_that_writes_at_once(make_toy: Callable[[str], Toy]) -> None:
    at_once, beside = make_toy("at_once"), make_toy("beside")
    at_once.run(runner(every_steps=1))
    beside.run(ASYNCHRONOUS)
    assert numbers(beside.work_dir) == numbers(at_once.work_dir)


@pytest.mark.slow
def test_stopped_and_killed_runs_go_on_to_the_same_bits(make_toy: Callable[[str], Toy]) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    whole.run(ASYNCHRONOUS)
    assert hurt.launch(f"{failing(3, 'SIGKILL')}, {ASYNCHRONOUS}").returncode == -9
    let_it_go_on(hurt)
    with pytest.raises(RunStopped):
        hurt.run(f"{failing(3, 'SIGTERM')}, {ASYNCHRONOUS}")
    let_it_go_on(hurt)
    hurt.run(ASYNCHRONOUS)
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)


def test_snapshot_is_of_its_moment_whatever_training_does_meanwhile(
    saver: Saver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    write = Snapshot.write

    def slow(self: Snapshot, directory: RunDirectory) -> None:
        go.wait(10)
        write(self, directory)

    monkeypatch.setattr(Snapshot, "write", slow)
    layer, progress = torch.nn.Linear(2, 2), Progress(step=1)
    expected = {name: value.clone() for name, value in layer.state_dict().items()}
    saver.save(moment(progress, {"model": layer}))
    with torch.no_grad():
        layer.weight.add_(1)  # what the next step does
    progress.step = 2
    go.set()
    saver.finish()
    content = torch.load(tmp_path / "epoch_0" / "step_1.pt", weights_only=True)
    assert content["progress"]["step"] == 1
    assert all(torch.equal(content["parts"]["model"][name], value) for name, value in expected.items())


def test_where_no_thread_can_be_started_the_checkpoint_is_written_at_once(
    saver: Saver, tmp_path: Path, no_room_for_threads: Callable[[], AbstractContextManager[None]]
) -> None:
    with no_room_for_threads():
        saver.save(moment(Progress(step=1), {"model": torch.nn.Linear(2, 2)}))
        assert (tmp_path / "epoch_0" / "step_1.pt").exists()
        saver.finish()


def test_training_does_not_wait_for_one_write_and_at_most_one_is_under_way(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, most = 0, 0
    write = Snapshot.write

    def slow(self: Snapshot, directory: RunDirectory) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(1.0)
        write(self, directory)
        under_way -= 1

    monkeypatch.setattr(Snapshot, "write", slow)
    begun_s = time.monotonic()
    saver.save(moment(Progress(step=1)))
    assert time.monotonic() - begun_s < 0.8
    saver.save(moment(Progress(step=2)))
    assert time.monotonic() - begun_s >= 1.0
    saver.finish()
    assert most == 1


def test_failure_in_the_thread_ends_the_run_at_the_next_step(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Snapshot, directory: RunDirectory) -> None:
        raise RuntimeError("a bug in writing")

    monkeypatch.setattr(Snapshot, "write", broken)
    with pytest.raises(TrainingError, match="a bug in writing"):
        toy.run(ASYNCHRONOUS)
    assert len((toy.work_dir / "metrics.jsonl").read_text().splitlines()) <= 2


def test_failure_in_the_last_write_is_not_lost(saver: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Snapshot, directory: RunDirectory) -> None:
        raise RuntimeError("a bug in writing")

    monkeypatch.setattr(Snapshot, "write", broken)
    saver.save(moment(Progress(step=1)))
    with pytest.raises(RuntimeError, match="a bug in writing"):
        saver.finish()


def test_copy_shares_no_memory_and_keeps_a_modules_versions() -> None:
    state = torch.nn.BatchNorm1d(3).state_dict()
    copy = copied({"model": state, "list": [torch.ones(1), (1, "a")]})
    assert copy["model"]._metadata == state._metadata
    assert all(copy["model"][name].data_ptr() != value.data_ptr() for name, value in state.items())
    assert copy["list"][1] == (1, "a")
