"""The record that a run keeps by default."""

import json
import time
from collections import Counter
from typing import Any

import pytest
import torch

from pylon.recorder.history import HistoryError, open_history
from pylon.runners.errors import RunStopped
from tests.runners.conftest import Toy

MONITOR = (
    "monitor={'class': __import__('pylon.monitor', fromlist=['SystemMonitor']).SystemMonitor,"
    " 'args': {'gpu': False, 'interval_s': 0.2}}"
)
STOPPED = "criterion={'class': ToyCriterion, 'args': {'at_call': 5, 'what': 'SIGTERM'}}"


def losses(toy: Toy) -> list[torch.Tensor]:
    return [
        torch.load(toy.work_dir / f"epoch_{epoch}/training_losses.pt", weights_only=True)
        for epoch in range(3)
    ]


def read(toy: Toy, launch: int) -> tuple[Counter[str], dict[str, list[dict[str, Any]]], Any, list[Any]]:
    # On a machine with much to do, the recorder of a run of moments ends after it.
    until = time.monotonic() + 20
    while not _has_ended(toy, launch) and time.monotonic() < until:
        time.sleep(0.05)
    with open_history(toy.work_dir / "history.sqlite") as history:
        marks = history.marks(launch)
        details: dict[str, list[dict[str, Any]]] = {}
        for mark in marks:
            details.setdefault(mark.kind, []).append(json.loads(mark.detail or "{}"))
        windows = history.windows(launch, 0, 1e12)
        return Counter(mark.kind for mark in marks), details, history.ending(launch), windows


def _has_ended(toy: Toy, launch: int) -> bool:
    try:
        with open_history(toy.work_dir / "history.sqlite") as history:
            return history.ending(launch) is not None
    except HistoryError:
        return False


def test_launches_of_a_run_are_one_record_and_change_no_bit(toy: Toy) -> None:
    with pytest.raises(RunStopped):
        toy.run(f"{MONITOR}, {STOPPED}")
    # The second launch takes four steps, and is not stopped again.
    toy.run(f"{MONITOR}, {STOPPED}")
    recorded = losses(toy)

    kinds, details, ending, windows = read(toy, 1)
    assert (ending.state, ending.cause, ending.source) == ("stopped", "sigterm", "program")
    assert details["stop_request"] == [{"signal": "SIGTERM"}]
    assert sum(one.n for one in windows) == 5, "each step is in one window"

    kinds, details, ending, windows = read(toy, 2)
    assert (ending.state, ending.cause) == ("finished", "clean")
    assert sum(one.n for one in windows) == 4
    assert (windows[0].first_step, windows[-1].last_step) == (5, 8)
    assert all(one.wait_mean is not None and one.wait_mean <= one.step_mean for one in windows if one.n)
    assert sum(one.loss_n for one in windows) == 4
    with open_history(toy.work_dir / "history.sqlite") as history:
        assert history.last_loss(2) == recorded[-1][-1].item()
    assert kinds["epoch"] == 2
    assert kinds["checkpoint_begin"] == kinds["checkpoint_end"] == 2
    assert [one["split"] for one in details["validation_end"]] == ["validation", "validation", "test"]
    assert [one["name"] for one in details["score"]] == ["f1_changed"] * 2
    assert [one["value"] for one in details["learning_rate"]] == [0.05, 0.025]

    toy.run("monitor=None", fresh=True)
    plain = toy.work_dir.with_name("run-fresh-1")
    assert not (plain / "history.sqlite").exists()
    for epoch, one in enumerate(recorded):
        assert torch.equal(one, torch.load(plain / f"epoch_{epoch}/training_losses.pt", weights_only=True))


@pytest.mark.parametrize(
    ("what", "cause"), [("raise", "exception"), pytest.param("nan", "non_finite", marks=pytest.mark.slow)]
)
def test_what_ends_a_run_is_in_its_record(toy: Toy, what: str, cause: str) -> None:
    with pytest.raises(Exception, match=r"broke|nan"):
        toy.run(f"{MONITOR}, criterion={{'class': ToyCriterion, 'args': {{'at_call': 4, 'what': '{what}'}}}}")
    _, _, ending, _ = read(toy, 1)
    assert (ending.state, ending.cause, ending.source) == ("failed", cause, "program")
    assert "Traceback" in ending.traceback
