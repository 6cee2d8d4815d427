"""Runs that are saved, stopped or killed in the middle of an epoch go on there, to the same bits."""

import json
import os
import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pylon.data import DataLoader
from pylon.runners.errors import RunStopped
from pylon.runners.outputs.line_file import LineFile
from pylon.runners.outputs.losses import read_losses
from pylon.runners.outputs.unfinished import drop_unfinished_epochs
from pylon.runners.randomness import RandomState, seed_all
from pylon.runners.run_directory.checkpoint import Progress
from pylon.runners.run_directory.checkpointing import Checkpointing
from pylon.runners.training.passes import EvaluationPass
from pylon.storage import describe_file, write_manifest
from tests.runners.conftest import Toy
from tests.runners.run_directory.saves import mid_epoch_checkpoints, moment, opened_saver
from tests.runners.run_directory.test_disk import runner
from tests.runners.run_directory.test_interrupted import WORKERS, failing, let_it_go_on, numbers

EVERY_STEP = (
    "runner={'class': SupervisedSingleTaskTrainer, 'args': "
    "{'score': 'f1_changed', 'log_every_steps': 2, "
    "'checkpointing': {'class': Checkpointing, 'args': {'every_steps': 1}}}}"
)


def log_of(toy: Toy) -> str:
    return (toy.work_dir / "train.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("call", [1, 3, 5, 6, 8])
def test_sigterm_is_answered_by_a_checkpoint_of_the_very_step(
    make_toy: Callable[[str], Toy], call: int
) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    whole.run(WORKERS)
    with pytest.raises(RunStopped):
        stopped.run(f"{failing(call, 'SIGTERM')}, {WORKERS}", rehearsal=False)
    epoch, steps = (call - 1) // 3, (call - 1) % 3 + 1
    saved = stopped.work_dir / f"epoch_{epoch}" / ("trained.pt" if steps == 3 else f"step_{steps}.pt")
    assert [saved] == [path for _, _, path in mid_epoch_checkpoints(stopped.work_dir)]
    assert saved.with_suffix(".manifest.json").exists()
    assert len((stopped.work_dir / "metrics.jsonl").read_text().splitlines()) == call
    let_it_go_on(stopped)
    stopped.run(WORKERS)
    assert f"resuming after {epoch} finished epochs and {steps} steps" in log_of(stopped)
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)
    assert mid_epoch_checkpoints(stopped.work_dir) == []
    assert not list(stopped.work_dir.glob("epoch_*/step_*"))


def test_going_on_loads_no_batch_of_the_epoch_again(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunStopped):
        toy.run(failing(5, "SIGTERM"))
    let_it_go_on(toy)
    begun: list[int] = []
    set_epoch_seed = DataLoader.set_epoch_seed

    def noted(self: DataLoader, seed: int, batches: Sequence[int], *, epoch: int | None = None) -> None:
        begun.append(batches[0])
        set_epoch_seed(self, seed, batches, epoch=epoch)

    monkeypatch.setattr(DataLoader, "set_epoch_seed", noted)
    toy.run(rehearsal=False)
    assert begun == [2, 0, 0, 0, 0], "the rest of epoch 1, its validation, epoch 2, its validation, the test"


@pytest.mark.slow
def test_sigkill_costs_no_more_than_the_steps_since_the_last_save(make_toy: Callable[[str], Toy]) -> None:
    whole, killed = make_toy("whole"), make_toy("killed")
    whole.run(EVERY_STEP)
    assert killed.launch(f"{failing(6, 'SIGKILL')}, {EVERY_STEP}").returncode == -9
    let_it_go_on(killed)
    killed.run(EVERY_STEP)
    assert "resuming after 1 finished epochs and 2 steps" in log_of(killed)
    assert numbers(killed.work_dir) == numbers(whole.work_dir)


@pytest.mark.slow
def test_stop_in_validation_keeps_the_trained_epoch(
    make_toy: Callable[[str], Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pylon.runners.training import loop

    whole, stopped = make_toy("whole"), make_toy("stopped")
    whole.run()
    run_pass = loop.run_pass

    def stop_first(plan: EvaluationPass, *arguments: Any, **options: Any) -> None:
        if plan.epoch == 1:
            torch.rand(3)  # a validation that draws numbers before it is stopped
            os.kill(os.getpid(), signal.SIGTERM)
        run_pass(plan, *arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(RunStopped):
        patch.setattr(loop, "run_pass", stop_first)
        stopped.run()
    saved = stopped.work_dir / "epoch_1" / "trained.pt"
    assert saved.exists()
    generators = torch.load(saved, weights_only=True)["parts"]["random"]["torch"]
    with monkeypatch.context() as patch, pytest.raises(RunStopped):
        patch.setattr(loop, "run_pass", stop_first)
        stopped.run()
    assert torch.equal(torch.load(saved, weights_only=True)["parts"]["random"]["torch"], generators)
    stopped.run()
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)
    assert not saved.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["step_2.pt", "training_losses.f64"])
def test_damaged_mid_epoch_checkpoint_is_set_aside_and_the_epochs_one_used(
    make_toy: Callable[[str], Toy], name: str
) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    whole.run()
    with pytest.raises(RunStopped):
        hurt.run(failing(5, "SIGTERM"))
    let_it_go_on(hurt)
    folder = hurt.work_dir / "epoch_1"
    damaged = folder / name
    damaged.write_bytes(damaged.read_bytes()[:-1])
    hurt.run()
    assert (folder / "step_2.damaged").exists()
    assert f"{name}" in log_of(hurt).partition("set aside")[2]
    assert "resuming after 1 finished epochs\n" in log_of(hurt)
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)
    assert not list(hurt.work_dir.glob("epoch_*/*.f64"))


@pytest.mark.slow
def test_checkpoint_of_format_2_goes_on_in_the_middle_of_its_epoch(make_toy: Callable[[str], Toy]) -> None:
    whole, old = make_toy("whole"), make_toy("old")
    whole.run()
    with pytest.raises(RunStopped):
        old.run(failing(5, "SIGTERM"))
    let_it_go_on(old)
    as_format_2(old.work_dir)
    old.run()
    assert "resuming after 1 finished epochs and 2 steps" in log_of(old)
    assert numbers(old.work_dir) == numbers(whole.work_dir)
    lines = (old.work_dir / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2]


def as_format_2(root: Path) -> None:
    """What a version wrote that kept the history and the running epoch's losses in each checkpoint."""
    history = [json.loads(line) for line in (root / "history.jsonl").read_text().splitlines()]
    losses = root / "epoch_1" / "training_losses.f64"
    for path in (root / "epoch_0" / "checkpoint.pt", root / "epoch_1" / "step_2.pt"):
        content = torch.load(path, weights_only=True)
        del content["progress"]["losses_sha256"]
        mid_epoch = content["progress"]["step"] > 0
        content["progress"]["losses"] = list(read_losses(losses, 2)) if mid_epoch else []
        content["progress"]["history"] = history
        torch.save({**content, "format": 2}, path)
        manifest = path.with_suffix(".manifest.json")
        files = json.loads(manifest.read_text())["files"]
        write_manifest(manifest, {**files, path.name: describe_file(path)})
    losses.unlink()
    (root / "history.jsonl").unlink()
    (root / "history.json").write_text(json.dumps(history, indent=2))


def test_directory_with_a_mid_epoch_checkpoint_belongs_to_its_configuration(toy: Toy) -> None:
    from pylon.runners.errors import RunDirectoryError

    with pytest.raises(RunStopped):
        toy.run(failing(2, "SIGTERM"))
    with pytest.raises(RunDirectoryError, match="of another configuration"):
        toy.run(f"{failing(2, 'SIGTERM')}, optimizer={{'class': torch.optim.SGD, 'args': {{'lr': 0.7}}}}")


@pytest.mark.parametrize("name", ["every_steps", "every_minutes"])
def test_interval_of_zero_is_refused(toy: Toy, name: str) -> None:
    from pylon.runners.errors import ConfigError

    with pytest.raises(ConfigError, match=rf"runner\.args\.checkpointing\.args\.{name} is 0: expected more"):
        toy.run(runner(**{name: 0}))


def test_minutes_count_from_the_last_save(tmp_path: Path) -> None:
    now = 0.0
    with opened_saver(tmp_path, Checkpointing(every_minutes=2), clock=lambda: now) as saver:
        now = 119.0
        assert not saver.due(1)
        now = 120.0
        assert saver.due(2)
        saver.save(moment(Progress(step=2)))
        assert not saver.due(3)
        now = 240.0
        assert saver.due(4)


def test_moment_that_is_saved_or_resumed_from_is_held(tmp_path: Path) -> None:
    with opened_saver(tmp_path) as saving:
        assert not saving.holds(Progress(step=2))
        saving.save(moment(Progress(step=2)))
        assert saving.holds(Progress(step=2))
        assert not saving.holds(Progress(step=3))
        assert not saving.holds(Progress(step=2, trained=True)), "validation is all that is left"
    with opened_saver(tmp_path, resumed=Progress(epoch=1, step=2)) as saving:
        assert saving.holds(Progress(epoch=1, step=2))


def test_generators_come_back_to_the_same_numbers() -> None:
    def draw() -> tuple[object, ...]:
        return random.random(), random.gauss(), np.random.rand(), np.random.randn(), torch.rand(3).tolist()

    former = RandomState(torch.device("cpu"))
    outside = former.state_dict()
    try:
        seed_all(3)
        draw()
        state = former.state_dict()
        expected = [draw(), draw()]
        former.load_state_dict(state)
        assert [draw(), draw()] == expected
    finally:
        former.load_state_dict(outside)


def test_lines_of_an_unfinished_epoch_stay_up_to_the_step_that_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"epoch": {number // 3}, "step": {number % 3}}}\n' for number in range(6)))
    drop_unfinished_epochs(path, finished=1, steps=2)
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in kept] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_line_that_a_full_disk_took_in_part_is_not_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import os

    file = LineFile(tmp_path / "lines")
    room = 5
    write = os.write

    def small(descriptor: int, content: bytes) -> int:
        nonlocal room
        if room == 0:
            raise OSError(28, "No space left on device")
        taken = write(descriptor, bytes(content[:room]))
        room -= taken
        return taken

    monkeypatch.setattr(os, "write", small)
    file.append("one\n")
    file.append("two\n")
    file.append("three\n")
    with pytest.raises(OSError, match="No space"):
        file.sync()
    assert (tmp_path / "lines").read_text() == "one\nt"
    assert caplog.text.count("lines wait in memory") == 1
    room = 1000
    file.append("four\n")
    file.sync()
    file.close()
    assert (tmp_path / "lines").read_text() == "one\ntwo\nthree\nfour\n"
