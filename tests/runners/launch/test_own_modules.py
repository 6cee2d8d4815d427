"""A user's folder: `data.py`, `models.py`, a monitor and more next to the configuration, in every process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runners.conftest import REPOSITORY, started
from tests.runners.run_directory.test_interrupted import numbers

pytestmark = pytest.mark.ci

# No PYTHONPATH: the folder of the configuration is found without it.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ENVIRONMENT.pop("PYTHONPATH", None)
MAIN = REPOSITORY / "main.py"
MODULES = {
    "random.py": "raise SystemError('found in place of Python\\'s')\n",
    "data.py": """
import torch
from pylon.data import BaseDataset
from shapes.size import SIZE

class Images(BaseDataset):
    SPLITS = ("train", "val", "test")
    INPUT_NAMES = ("image",)
    LABEL_NAMES = ("mask",)

    def _list_datapoints(self):
        return list(range(8 if self.split == "train" else 4))

    def _load_datapoint(self, annotation):
        import late
        generator = torch.Generator().manual_seed(annotation + late.SHIFT)
        image = torch.randn(1, SIZE, SIZE, generator=generator)
        return {"image": image}, {"mask": (image[0] > 0).long()}, {}
""",
    "late.py": "SHIFT = 100\n",  # imported by the workers alone
    "shapes/size.py": "SIZE = 8\n",
    "models.py": """
import os, signal
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = 0
        self.layer = nn.Conv2d(1, {width}, 1)

    def forward(self, image):
        self.steps += self.training
        if self.training and str(self.steps) == os.environ.get("KILL_AT_STEP"):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(image)[:, :2]
""",
    "monitor.py": """
from pathlib import Path
from pylon.monitor import BaseMonitor

class Seven(BaseMonitor[int]):
    def __init__(self, file, *, interval_s=0.1, join_timeout_s=1.0):
        super().__init__(interval_s=interval_s, join_timeout_s=join_timeout_s)
        self.file = file

    def _update_single_server(self, server):
        Path(self.file).write_text("read")
        return 7
""",
    "run_0.py": """
import torch
from data import Images
from models import Net
from monitor import Seven
from pylon.data import DataLoader
from pylon.metrics import SemanticSegmentationMetric
from pylon.monitor import SystemMonitor
from pylon.runners import SupervisedSingleTaskTrainer

def images(split):
    return {"class": Images, "args": {"data_root": ".", "split": split}}

def loader(**more):
    return {"class": DataLoader, "args": {"batch_size": 4, "num_workers": 2, **more}}

seven = {"class": Seven, "args": {"file": FILE + "/seven"}}
config = {
    "runner": {"class": SupervisedSingleTaskTrainer, "args": {"score": "accuracy"}},
    "work_dir": FILE + "/run",
    "epochs": 2,
    "seed": 1,
    "model": {"class": Net, "args": {}},
    "criterion": {"class": torch.nn.CrossEntropyLoss, "args": {}},
    "metric": {"class": SemanticSegmentationMetric, "args": {"num_classes": 2}},
    "optimizer": {"class": torch.optim.SGD, "args": {"lr": 0.1}},
    "train_dataset": images("train"),
    "train_dataloader": loader(shuffle=True),
    "val_dataset": images("val"),
    "val_dataloader": loader(),
    "test_dataset": images("test"),
    "test_dataloader": loader(),
    "monitor": {"class": SystemMonitor, "args": {"gpu": False, "interval_s": 0.1, "others": [seven]}},
}
""",
    "test_0.py": """
from pylon.runners import SupervisedSingleTaskEvaluator, evaluation_of
from run_0 import config

config = evaluation_of(config, SupervisedSingleTaskEvaluator, checkpoint=FILE + "/run/checkpoint_best.pt")
""",
    "stages.py": """
from pylon.runners import SupervisedSingleTaskEvaluator, evaluation_of
from run_0 import config as first

config = {
    "work_dir": FILE + "/all",
    "stages": {
        "first": first,
        "second": evaluation_of(first, SupervisedSingleTaskEvaluator, checkpoint="stage:first"),
    },
}
""",
}


def make(folder: Path, width: int = 2) -> Path:
    for name, text in MODULES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text.replace("FILE", repr(str(folder))).replace("{width}", str(width)))
    return folder / "run_0.py"


def launch(tmp_path: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    command = [str(MAIN), "--device", "cpu", "--config-filepath", *map(str, arguments)]
    return started(command, environment, elsewhere)


def classes(run: Path) -> dict[str, str]:
    config = json.loads((run / "config.json").read_text())
    return {key: value["class"] for key, value in config.items() if isinstance(value, dict)}


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_modules_next_to_the_configuration_are_found_in_every_process(tmp_path: Path, context: str) -> None:
    folder = tmp_path / "exp"
    options = [
        f"{split}_dataloader.args.multiprocessing_context={context}" for split in ("train", "val", "test")
    ]
    ended = launch(tmp_path, make(folder), "--set", *options)
    assert ended.returncode == 0, ended.stderr
    assert (folder / "seven").read_text() == "read", "the monitor's process must have found its class"
    assert "Seven" not in ended.stderr
    named = classes(folder / "run")
    assert (named["model"], named["train_dataset"]) == (f"{folder}:models:Net", f"{folder}:data:Images")


def test_killed_run_is_resumed_by_its_resolved_configuration(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert launch(tmp_path, make(whole)).returncode == 0
    make(killed)
    first = launch(tmp_path, killed / "run_0.py", KILL_AT_STEP="4")
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert (killed / "run" / "epoch_0" / "checkpoint.pt").exists(), "it must strike in the second epoch"
    spawn = "train_dataloader.args.multiprocessing_context=spawn"
    ended = launch(tmp_path, killed / "run" / "config.json", "--set", spawn)
    assert ended.returncode == 0, ended.stderr
    assert "resuming after 1 finished epochs" in ended.stdout
    assert numbers(killed / "run") == numbers(whole / "run")
    tested = launch(tmp_path, killed / "test_0.py")
    assert tested.returncode == 0, tested.stderr
    assert classes(killed / "run-test")["model"] == f"{killed}:models:Net"


def test_stages_and_several_files_use_each_their_own_folder(tmp_path: Path) -> None:
    narrow, wide = tmp_path / "narrow", tmp_path / "wide"
    make(narrow)
    make(wide, width=3)
    ended = launch(tmp_path, narrow / "stages.py", wide / "run_0.py")
    assert ended.returncode == 0, ended.stderr
    assert "Net with 4 parameters" in ended.stdout
    assert "Net with 6 parameters" in ended.stdout
    assert classes(narrow / "all" / "second")["model"] == f"{narrow}:models:Net"
    assert classes(wide / "run")["model"] == f"{wide}:models:Net"


def test_ranks_of_torchrun_find_them(tmp_path: Path) -> None:
    folder = tmp_path / "exp"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*command, str(MAIN), "--device", "cpu", "--config-filepath", str(make(folder))],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert json.loads((folder / "run" / "state.json").read_text())["state"] == "finished"
