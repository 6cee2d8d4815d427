"""What an epoch and a save cost does not grow with the run: bytes and file operations, never a clock."""

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from pylon.runners.outputs import unfinished
from pylon.runners.outputs.curves import CurvePoints
from pylon.runners.outputs.losses import EpochLosses
from pylon.runners.outputs.unfinished import drop_unfinished_epochs
from pylon.runners.run_directory.checkpoint import Progress
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.retention import Retention
from pylon.runners.run_directory.saving import Saver
from pylon.runners.run_directory.snapshots import capture
from tests.runners.conftest import Toy
from tests.runners.run_directory.saves import end_epoch, moment, opened_saver

_OPERATIONS = frozenset({"open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir"})
_counted: list[Counter[str]] = []


def _count(event: str, _: tuple[Any, ...]) -> None:
    if _counted and event in _OPERATIONS:
        _counted[-1][event] += 1


sys.addaudithook(_count)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts what the block does with files; a hook cannot be removed, so this one sleeps otherwise."""
    _counted.append(Counter())
    try:
        yield _counted[-1]
    finally:
        _counted.pop()


def sizes(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink()}


def saved(saver: Saver, snapshot: Any, root: Path) -> tuple[int, Counter[str]]:
    """What a save adds to the files, in bytes, and what it does with them."""
    before, write = sizes(root), os.pwrite

    def counting(descriptor: int, content: bytes, place: int) -> int:
        operations["bytes of losses"] += len(content)
        return write(descriptor, content, place)

    with counted() as operations, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", counting)
        saver.save(snapshot)
    grown = sum(size - before.get(path, 0) for path, size in sizes(root).items())
    return grown, operations


@pytest.mark.parametrize("retention", [Retention(), Retention(every_steps=10)], ids=["newest", "all stay"])
def test_save_costs_the_same_at_any_step_of_an_epoch(tmp_path: Path, retention: Retention) -> None:
    costs = []
    losses, progress = EpochLosses(), Progress()
    with opened_saver(tmp_path, retention=retention) as saver:
        for steps in (10, 20, 30, 1000, 100_000, 100_010):
            while progress.step < steps:
                losses.extend([0.5] * 10)
                progress.step = progress.global_step = len(losses)
                if progress.step % 1000 == 0 or steps < 1000 or progress.step > 100_000:
                    cost = saved(saver, capture(progress, {}, losses), tmp_path)
                    if progress.step in {20, 100_010}:
                        costs.append(cost)
        assert len(saver._superseded._positions) <= 1, "those that stay are not looked at again"
    (early, first), (late, second) = costs
    assert first == second, "as many files are opened, listed and removed"
    assert first["os.listdir"] == first["os.scandir"] == 0
    assert first["bytes of losses"] == 80, "those of the steps since the last save"
    assert abs(late - early) < 256, "only the numbers of the step are longer"


def test_end_of_an_epoch_costs_the_same_after_any_number_of_epochs(tmp_path: Path) -> None:
    costs = []
    progress = Progress()
    with opened_saver(tmp_path) as saver:
        for epoch in range(201):
            progress.step = 1
            snapshot = end_epoch(progress, 0.5, baselines={str(one): {"f1": 0.1} for one in range(9)})
            before = sizes(tmp_path) if epoch in {5, 200} else {}
            with counted() as operations:
                saver.save(snapshot)
            if before:
                written = {path: size for path, size in sizes(tmp_path).items() if path not in before}
                lines = (tmp_path / "history.jsonl").stat().st_size - before[tmp_path / "history.jsonl"]
                costs.append((sum(written.values()) + lines, operations))
    (early, first), (late, second) = costs
    assert first == second, "as many files are opened, listed and removed"
    assert first["os.listdir"] == first["os.scandir"] == 0
    assert abs(late - early) < 256
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 201


def test_checkpoint_holds_nothing_of_former_epochs_or_steps(toy: Toy) -> None:
    toy.run("epochs=2")
    short = torch.load(toy.work_dir / "checkpoint_latest.pt", weights_only=True)
    assert all(not isinstance(value, list) for value in short["progress"].values())
    line = json.loads((toy.work_dir / "history.jsonl").read_text().splitlines()[-1])
    names = ("all_unchanged", "all_changed", "random_uniform", "random_prevalence")
    assert {name: list(scores) for name, scores in line["baselines"].items()} == {
        name: ["f1_changed"] for name in names
    }


def test_lines_are_cut_without_reading_or_writing_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [f'{{"epoch": {number // 20_000}, "step": {number % 20_000}}}\n' for number in range(50_000)]
    path.write_text("".join(rows) + '{"epoch": 2, "st')
    parsed, identity = 0, path.stat().st_ino
    loads = json.loads

    def counting(line: bytes) -> Any:
        nonlocal parsed
        parsed += 1
        return loads(line)

    monkeypatch.setattr(unfinished.json, "loads", counting)
    drop_unfinished_epochs(path, finished=1, steps=7)
    assert path.read_text() == "".join(rows[:20_007])
    assert parsed < 100
    assert path.stat().st_ino == identity, "cut in place"


@pytest.mark.parametrize("finished", [0, 1, 2, 3])
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("tail", ["", '{"epoch": 2, "step": 4}', '{"ep', "\0\0\0\0", "[]\n"])
def test_bisection_finds_the_lines_that_a_reader_of_all_would_keep(
    tmp_path: Path, finished: int, steps: int, tail: str
) -> None:
    path = tmp_path / "metrics.jsonl"
    positions = [(epoch, step) for epoch in range(3) for step in range(4)]
    path.write_text("".join(f'{{"epoch": {one}, "step": {other}}}\n' for one, other in positions) + tail)
    drop_unfinished_epochs(path, finished, steps)
    kept = [(line["epoch"], line["step"]) for line in map(json.loads, path.read_text().splitlines())]
    whole_tail = [(2, 4)] if "4}" in tail else []
    assert kept == [one for one in positions + whole_tail if one < (finished, steps)]
    assert not kept or path.read_text().endswith("\n")


def test_curves_of_a_long_run_are_of_few_points_and_the_same_after_a_resume() -> None:
    def points(epochs: range, into: CurvePoints) -> CurvePoints:
        for epoch in epochs:
            into.add({"epoch": epoch, "training_loss": 1.0, "validation": {"f1": epoch, "other": 2}})
        return into

    whole = points(range(9_998), CurvePoints("f1")).chosen()
    assert len(whole) <= 1002
    assert [one["epoch"] for one in whole[-2:]] == [9_984, 9_997], "the newest is among them"
    resumed = CurvePoints("f1")
    points(range(4_321), resumed)
    assert points(range(4_321, 9_998), resumed).chosen() == whole
    assert [one["epoch"] for one in points(range(5), CurvePoints("f1")).chosen()] == [0, 1, 2, 3, 4]


def test_stored_losses_are_the_same_bits_whatever_the_disk_did_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "epoch_0" / "training_losses.f64"
    values = [0.1, float("nan"), -float("inf"), 2**-1074, 1e308]
    losses = EpochLosses(values)
    losses.store(path, 2)
    assert path.stat().st_size == 16
    path.unlink()  # with the folder of a run that is removed
    losses.store(path, 3)
    write = unfinished.os.pwrite
    calls = 0

    def taking_a_part(descriptor: int, content: bytes, place: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        return write(descriptor, content[:5], place)

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", taking_a_part)
        with pytest.raises(OSError, match="No space"):
            losses.store(path, 5)
    losses.store(path, 5)
    assert path.read_bytes() == torch.tensor(values, dtype=torch.float64).numpy().tobytes()
    assert losses.tensor().numpy().tobytes() == path.read_bytes()


def test_what_a_kill_left_between_a_save_and_its_end_is_cleared_by_the_next_launch(tmp_path: Path) -> None:
    progress = Progress(step=2, global_step=2)
    with opened_saver(tmp_path) as saver:
        saver.save(moment(progress))
        left = {path: path.read_bytes() for path in (tmp_path / "epoch_0").iterdir()}
        saver.save(end_epoch(progress, 0.5))
        progress.step = 1
        saver.save(end_epoch(progress, 0.4))
        progress.step = 1
        saver.save(end_epoch(progress, 0.3))
    for path, content in left.items():
        path.write_bytes(content)
    (tmp_path / "epoch_1" / "checkpoint.manifest.json").write_text("{}")
    with opened_saver(tmp_path, resumed=progress):
        pass
    assert not (tmp_path / "epoch_1" / "checkpoint.manifest.json").exists(), "its checkpoint is gone"
    names = {path.name for path in (tmp_path / "epoch_0").iterdir()}
    assert names == {
        "checkpoint.pt",
        "checkpoint.manifest.json",
        "training_losses.pt",
        "validation_scores.json",
    }
    assert len(left) == 3, "the checkpoint, its manifest and the losses"


def test_records_that_are_lost_are_named_and_cost_no_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress()
    with opened_saver(tmp_path) as saver:
        for score in (0.1, 0.9, 0.3, 0.2):
            progress.step = 1
            saver.save(end_epoch(progress, score))
    history = tmp_path / "history.jsonl"
    lines = history.read_text().splitlines(keepends=True)
    history.write_text(lines[0] + "damaged\n" + lines[2] + lines[3])
    with caplog.at_level(logging.WARNING), opened_saver(tmp_path, resumed=progress) as saver:
        progress.step = 1
        saver.save(end_epoch(progress, 0.4))
    assert "history.jsonl: 1 of 4 epochs are missing, the first is epoch 1" in caplog.text
    assert RunDirectory(tmp_path).checkpoint(1).exists(), "the best, although its record is lost"
    assert RunDirectory(tmp_path).checkpoint(4).exists()
