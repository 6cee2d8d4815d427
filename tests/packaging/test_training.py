"""The wheel with its extra `train`: a run of the user's own modules, killed and resumed, far from a checkout.

It runs on the test environment's own release; PYLON_TEST_RELEASES="3.11 3.12 3.13" names others.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.conftest import Distributions
from tests.packaging.installation import Installation, install

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]

RELEASES = os.environ.get("PYLON_TEST_RELEASES", f"3.{sys.version_info.minor}").split()
# Named as packages of Pylon, which must not hide them.
DATA = """
from typing import Any

import torch

from pylon.data import BaseDataset


class Discs(BaseDataset):
    SPLITS = ("train", "val", "test")
    INPUT_NAMES = ("image",)
    LABEL_NAMES = ("mask",)

    def _list_datapoints(self) -> range:
        first = 100 * self.SPLITS.index(self.split)
        return range(first, first + 12)

    def _load_datapoint(self, annotation: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(annotation))
        return {"image": image}, {"mask": (image[0] > 0.5).long()}, {"number": annotation}
"""
MODELS = '''
import os
import signal

import torch
from torch import nn


class Finder(nn.Module):
    """Kills its process at the training step that the environment names."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(8, 2, 1))
        self.steps = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.steps += self.training
        if self.training and self.steps == int(os.environ.get("KILL_AT_STEP", "0")):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layers(image)
'''
RUN = """
import torch
from data import Discs
from models import Finder

from pylon.data import DataLoader
from pylon.metrics import SemanticSegmentationMetric
from pylon.runners import Checkpointing, SupervisedSingleTaskTrainer


def dataset(split):
    return {"class": Discs, "args": {"data_root": "", "split": split}}


config = {
    "runner": {
        "class": SupervisedSingleTaskTrainer,
        "args": {
            "score": "mean_iou",
            "checkpointing": {"class": Checkpointing, "args": {"every_steps": 1}},
        },
    },
    "work_dir": "run",
    "epochs": 2,
    "seed": 1,
    "model": {"class": Finder, "args": {}},
    "criterion": {"class": torch.nn.CrossEntropyLoss, "args": {}},
    "metric": {"class": SemanticSegmentationMetric, "args": {"num_classes": 2}},
    "optimizer": {"class": torch.optim.AdamW, "args": {"lr": 0.01}},
    "train_dataset": dataset("train"),
    "train_dataloader": {
        "class": DataLoader,
        "args": {"batch_size": 2, "shuffle": True, "num_workers": 1, "multiprocessing_context": "spawn"},
    },
    "val_dataset": dataset("val"),
    "val_dataloader": {"class": DataLoader, "args": {"batch_size": 4}},
    "test_dataset": dataset("test"),
    "test_dataloader": {"class": DataLoader, "args": {"batch_size": 4}},
}
"""


@pytest.fixture(scope="module", params=RELEASES)
def installed(
    request: pytest.FixtureRequest, distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    made = install(
        tmp_path_factory.mktemp(f"train-{request.param}"), request.param, distributions.wheel, extra="train"
    )
    for name, content in (("data.py", DATA), ("models.py", MODELS), ("run.py", RUN)):
        (made.folder / name).write_text(content)
    return made


def train(installed: Installation, work_dir: str, *arguments: str, kill_at: int = 0) -> tuple[int, str]:
    done = installed.run(
        installed.pylon, "train", "--config-filepath", "run.py", "--work-dir", work_dir, "--device", "cpu",
        *arguments,
        timeout_s=120,
        environment={"KILL_AT_STEP": str(kill_at)},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def steps(run: Path) -> list[tuple[Any, ...]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["epoch"], line["step"], line["loss"]) for line in lines]


def result(run: Path) -> Any:
    return json.loads((run / "state.json").read_text())["result"]


def test_killed_run_of_the_users_own_modules_resumes_to_the_same_numbers(installed: Installation) -> None:
    code, printed = train(installed, "whole")
    assert code == 0, printed
    code, printed = train(installed, "killed", kill_at=9)
    assert code == -signal.SIGKILL, printed
    assert len(steps(installed.folder / "killed")) == 8
    code, printed = train(installed, "killed")
    assert code == 0, printed
    whole, killed = installed.folder / "whole", installed.folder / "killed"
    assert len(steps(whole)) == 12
    assert steps(killed) == steps(whole)
    assert result(killed) == result(whole)


def test_new_configuration_trains_at_once(installed: Installation) -> None:
    done = installed.run(installed.pylon, "new", "mine", "--kind", "tabular")
    assert (done.returncode, done.stderr) == (0, "")
    done = installed.run(
        installed.pylon, "train", "--config-filepath", "mine/run.py", "--device", "cpu", timeout_s=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert result(installed.folder / "logs/mine")["test"]["error"] < 2


def test_several_files_run_one_after_another(installed: Installation) -> None:
    (installed.folder / "second.py").write_text(RUN)
    code, printed = train(installed, "several", "--config-filepath", "second.py", "--set", "epochs=1")
    assert code == 0, printed
    assert sorted(path.name for path in (installed.folder / "several").iterdir()) == ["run", "second"]


def test_torchrun_starts_two_ranks(installed: Installation) -> None:
    done = installed.run(
        installed.root / "bin" / "torchrun", "--standalone", "--nproc-per-node", "2", "-m", "pylon", "train",
        "--config-filepath", "run.py", "--work-dir", "ranks", "--device", "cpu", "--set", "epochs=1",
        timeout_s=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    launches = json.loads((installed.folder / "ranks" / "environment.json").read_text())["launches"]
    assert [launch["ranks"] for launch in launches] == [2]


def test_types_of_the_wheel_are_checked_in_the_users_files(installed: Installation) -> None:
    (installed.folder / "typed.py").write_text(
        "from pylon.monitor import SystemMonitor\n"
        "from pylon.runners import Retention, Trainer\n"
        "wrong: int = SystemMonitor(gpu=False).latest()\n"
        "reveal_type(Retention(newest=2))\n"
    )
    done = installed.run(
        sys.executable, "-m", "mypy", "--strict", "--python-executable", installed.python,
        "--cache-dir", installed.root / "mypy", "typed.py",
        timeout_s=300,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert 'typed.py:2: error: Module "pylon.runners" has no attribute "Trainer"' in lines[0]
    assert 'expression has type "SystemSnapshot"' in lines[1]
    assert 'Revealed type is "pylon.runners.run_directory.retention.Retention"' in lines[2]
