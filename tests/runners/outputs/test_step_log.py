import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from pylon.runners.errors import TrainingError
from pylon.runners.outputs.losses import EpochLosses
from pylon.runners.outputs.step_log import Step, StepLog
from pylon.runners.outputs.unfinished import drop_unfinished_epochs


@dataclass(frozen=True)
class Snapshot:
    sequence: int

    def as_record(self) -> dict[str, Any]:
        return {"cpu_percent": 10.0 * self.sequence}


def step(number: int, loss: float = 0.5, epoch: int = 0) -> Step:
    return Step(epoch, number, number, torch.tensor(loss, requires_grad=True) * 1, 0.1, 0.01)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_monitor_figures_appear_once_per_refresh(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with StepLog(path, flush_every_steps=2) as log:
        for number, sequence in enumerate([0, 0, 0, 1, 1]):
            log.add(step(number), Snapshot(sequence))
        assert list(log.end_epoch().values()) == [0.5] * 5
    assert [line.get("monitor") for line in lines(path)] == [
        {"cpu_percent": 0.0}, None, None, {"cpu_percent": 10.0}, None
    ]  # fmt: skip


def test_nan_loss_names_its_step_and_the_steps_before_are_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with StepLog(path, flush_every_steps=3) as log:
        log.add(step(0), None)
        log.add(step(1), None)
        with pytest.raises(TrainingError, match="epoch 4, step 2: the loss is nan"):
            log.add(step(2, float("nan"), epoch=4), None)
        assert [line["step"] for line in lines(path)] == [0, 1]


NUMBERS = [0.1, 0.0, -0.0, 5e-324, 1e-7, 1e16, 1.7976931348623157e308, 123456.789, 1 / 3]


@pytest.mark.parametrize("rate", [*NUMBERS, 1, float("inf")])
def test_line_of_a_step_is_the_json_of_its_numbers(tmp_path: Path, rate: float) -> None:
    path = tmp_path / "metrics.jsonl"
    steps = [
        Step(3, number, 10**9 + number, torch.tensor(loss, dtype=torch.float64), rate, 12.3456789)
        for number, loss in enumerate(NUMBERS)
    ]
    with StepLog(path, flush_every_steps=len(steps)) as log:
        for one in steps:
            log.add(one, None)
    written = path.read_text().splitlines()
    assert written == [json.dumps(json.loads(line)) for line in written]
    assert lines(path) == [
        {
            "epoch": 3,
            "step": one.step,
            "global_step": one.global_step,
            "loss": loss,
            "learning_rate": rate,
            "step_time_s": 12.345679,
        }
        for one, loss in zip(steps, NUMBERS, strict=True)
    ]


def test_digest_of_an_epochs_losses_is_the_same_whenever_it_is_asked_for() -> None:
    asked, once = EpochLosses([1.0]), EpochLosses()
    for loss in NUMBERS:
        asked.extend([loss])
        assert asked.sha256 == asked.sha256
    once.extend([1.0, *NUMBERS])
    assert once.sha256 == asked.sha256
    assert once.sha256 == hashlib.sha256(struct.pack("<10d", 1.0, *NUMBERS)).hexdigest()


def test_losses_of_one_epoch_do_not_reach_the_next(tmp_path: Path) -> None:
    with StepLog(tmp_path / "metrics.jsonl", flush_every_steps=10) as log:
        log.add(step(0, 1.0), None)
        assert list(log.end_epoch().values()) == [1.0]
        log.add(step(0, 2.0, epoch=1), None)
        assert list(log.end_epoch().values()) == [2.0]


def test_resume_drops_unfinished_epochs_and_a_line_torn_by_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"epoch": 0, "step": 0}\n{"epoch": 0, "step": 1}\n{"epoch": 1, "step": 0}\n{"epoch": 1, "st'
    )
    drop_unfinished_epochs(path, finished=1)
    assert [(line["epoch"], line["step"]) for line in lines(path)] == [(0, 0), (0, 1)]


def test_last_line_without_its_newline_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 0, "step": 0}')
    drop_unfinished_epochs(path, finished=1)
    with StepLog(path, flush_every_steps=1) as log:
        log.add(step(0, epoch=1), None)
    assert [line["epoch"] for line in lines(path)] == [0, 1]


def test_line_torn_inside_a_finished_epoch_number_is_dropped_too(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 0, "step": 0}\n{"epo')
    drop_unfinished_epochs(path, finished=5)
    assert len(lines(path)) == 1
