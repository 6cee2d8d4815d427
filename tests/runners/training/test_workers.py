"""Runs whose loader workers are killed or hang end with a message, save what was done, and go on from it."""

import json
import time
from collections.abc import Callable

import pytest

from tests.runners.conftest import Toy
from tests.runners.run_directory.saves import mid_epoch_checkpoints
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on, numbers

pytestmark = pytest.mark.ci


def loader(split: str, **options: object) -> str:
    arguments = {"batch_size": 1, "num_workers": 2, "shuffle": split == "train", **options}
    return f"{split}_dataloader={{'class': DataLoader, 'args': {arguments!r}}}"


def metric(at_update: int, what: str) -> str:
    arguments = {
        "at_update": at_update, "what": what, "num_classes": 2, "class_names": ["unchanged", "changed"],
    }  # fmt: skip
    return f"metric={{'class': HurtingMetric, 'args': {arguments!r}}}"


def ended_well(toy: Toy, said: str, code: int) -> None:
    assert "Traceback" not in said
    state = json.loads((toy.work_dir / "state.json").read_text())["state"]
    assert state == ("preempted" if code == 75 else "failed")


@pytest.mark.parametrize(
    ("what", "options", "code", "words"),
    [
        ("worker:SIGKILL", {}, 1, "was killed by SIGKILL"),
        (
            "worker:SIGSTOP",
            {"timeout_s": 2.0},
            1,
            "no batch came from its 2 loader workers within",
        ),
        ("worker:SIGSTOP later:SIGTERM", {}, 75, "Stopped by SIGTERM"),
        ("worker:SIGSTOP later:SIGTERM", {"persistent_workers": False}, 75, "Stopped by SIGTERM"),
    ],
    ids=["killed", "stopped for too long", "stopped, and asked to end", "the same without persistence"],
)
def test_hurt_worker_costs_no_step(
    make_toy: Callable[[str], Toy], what: str, options: dict[str, object], code: int, words: str
) -> None:
    whole, ended = make_toy("whole"), make_toy("hurt")
    changes = loader("train", **options)
    whole.run(changes)
    begun_s = time.monotonic()
    process = ended.launch(f"{failing(3, what)}, {changes}")
    assert time.monotonic() - begun_s < 60
    said = process.stdout + process.stderr
    assert process.returncode == code, said
    assert words in " ".join(said.split())
    ended_well(ended, said, code)
    ((epoch, steps, _),) = mid_epoch_checkpoints(ended.work_dir)
    lines = len((ended.work_dir / "metrics.jsonl").read_text().splitlines())
    assert (epoch, steps) == (0, lines), "the state of the last step that was taken"
    assert 3 <= steps < 12
    let_it_go_on(ended)
    ended.run(changes)
    assert numbers(ended.work_dir) == numbers(whole.work_dir)


def test_killed_worker_in_validation_keeps_the_trained_epoch(make_toy: Callable[[str], Toy]) -> None:
    whole, ended = make_toy("whole"), make_toy("hurt")
    changes = loader("val", num_workers=1, persistent_workers=False)
    whole.run(changes)
    process = ended.launch(f"{metric(6, 'worker:SIGKILL')}, {changes}")
    assert process.returncode == 1
    ended_well(ended, process.stdout + process.stderr, 1)
    assert "ToyDataset: a batch of its 1 loader workers" in process.stderr
    assert (ended.work_dir / "epoch_1" / "trained.pt").exists()
    let_it_go_on(ended)
    ended.run(changes)
    assert numbers(ended.work_dir) == numbers(whole.work_dir)
