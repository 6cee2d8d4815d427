"""A run that is killed or stopped in validation: the next launch validates again, to the same bits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pylon.runners.errors import TrainingError
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_disk import assert_nothing_half, runner
from tests.runners.run_directory.test_interrupted import let_it_go_on, numbers
from tests.runners.run_directory.test_retention import run_again
from tests.runners.training.test_workers import loader, metric

pytestmark = pytest.mark.ci

EVERY_STEP = runner(every_steps=1)
WORKERS = f"{loader('train')}, {loader('val')}, {loader('test')}"
FEW = loader("val", num_workers=0)


def everything(root: Path) -> dict[str, Any]:
    """The numbers, and what validation leaves: scores of each datapoint, generators, epoch by epoch."""
    states = {
        path.parent.name: torch.load(path, weights_only=True) for path in root.glob("epoch_*/checkpoint.pt")
    }
    return {
        **numbers(root),
        "scores": {
            path.parent.name: path.read_bytes() for path in root.glob("epoch_*/validation_scores.json")
        },
        "generators": {
            name: json.dumps(state["parts"]["random"], default=torch.Tensor.tolist)
            for name, state in states.items()
        },
        "progress": {
            name: {key: value for key, value in state["progress"].items() if key != "history"}
            for name, state in states.items()
        },
    }


@pytest.mark.parametrize(
    ("name", "update", "options"),
    [
        ("SIGKILL", 1, ""),
        ("SIGKILL", 12, EVERY_STEP),
        ("SIGKILL", 10, ""),
        ("SIGTERM", 1, EVERY_STEP),
        ("SIGTERM", 12, ""),
        ("SIGTERM", 10, EVERY_STEP),
    ],
)
def test_end_in_validation_costs_no_bit_of_it(
    make_toy: Callable[[str], Toy], options: str, name: str, update: int
) -> None:
    # 5 updates of the metric in each validation. The last epoch's checkpoint, with its generators, stays.
    hurts_and_goes_on(make_toy, f"{options}, {FEW}".lstrip(", "), name, update)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_end_in_validation_with_workers_costs_no_bit_of_it(make_toy: Callable[[str], Toy], name: str) -> None:
    hurts_and_goes_on(make_toy, f"{EVERY_STEP}, {WORKERS}", name, update=8)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_end_in_the_test_pass_costs_no_bit_of_it(make_toy: Callable[[str], Toy], name: str) -> None:
    # After 3 validations of 5 updates each; the test data are 5 datapoints in 2 batches.
    hurts_and_goes_on(make_toy, FEW, name, update=16)


def hurts_and_goes_on(make_toy: Callable[[str], Toy], changes: str, name: str, update: int) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    whole.run(f"{metric(0, '')}, {changes}")
    ended = hurt.launch(f"{metric(update, name)}, {changes}", "--no-rehearsal")  # it would be hurt first
    assert ended.returncode == {"SIGKILL": -9, "SIGTERM": 75}[name], ended.stderr
    assert not (hurt.work_dir / "test" / "test_results.json").exists()
    assert_nothing_half(hurt.work_dir)
    finished = len(list(hurt.work_dir.glob("epoch_*/validation_scores.json")))
    assert finished == (update - (name == "SIGKILL")) // 5, "a validation that has all its batches is done"
    let_it_go_on(hurt)
    hurt.run(f"{metric(0, '')}, {changes}")
    assert everything(hurt.work_dir) == everything(whole.work_dir)


BROKEN = """
from pathlib import Path

class Broken(SemanticSegmentationMetric):
    # Breaks in one of its methods in the second validation, as long as a file is there.
    validations = 0

    def reset(self):
        super().reset()
        Broken.validations += 1

    def fail(self, method):
        if method == {method!r} and Broken.validations == 2 and Path({bug!r}).exists():
            torch.rand(3)
            raise IndexError("a bug of the user's")

    def update(self, outputs, target, idx):
        self.fail("update")
        super().update(outputs, target, idx)

    def summarize(self, *arguments, **options):
        self.fail("summarize")
        return super().summarize(*arguments, **options)

    def baselines(self, *arguments):
        self.fail("baselines")
        return super().baselines(*arguments)

config["metric"]["class"] = Broken
config["runner"]["args"]["rehearsal"] = False  # it would count as a validation
"""


@pytest.mark.parametrize("method", ["update", "summarize", "baselines"])
def test_trained_epoch_is_kept_when_the_metric_raises(make_toy: Callable[[str], Toy], method: str) -> None:
    whole, broken = make_toy("whole"), make_toy("broken")
    whole.run()
    bug = broken.folder / "bug"
    bug.touch()
    path = broken.write()
    path.write_text(path.read_text() + BROKEN.format(method=method, bug=str(bug)))
    with pytest.raises(TrainingError, match="IndexError: a bug of the user"):
        run_again(path)
    saved = broken.work_dir / "epoch_1" / "trained.pt"
    assert saved.exists()
    assert "epoch 2/3 is trained and saved: the same command" in (broken.work_dir / "train.log").read_text()
    bug.unlink()
    run_again(path)
    assert "resuming after 1 finished epochs and 3 steps" in (broken.work_dir / "train.log").read_text()
    assert numbers(broken.work_dir) == numbers(whole.work_dir)
    assert not saved.exists()
