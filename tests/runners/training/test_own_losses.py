"""Tasks that compute their loss themselves, and models that give several tensors: no criterion is needed."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from pylon.data.errors import DataError
from pylon.runners.errors import ConfigError, PylonError
from pylon.runners.launch.file import run_file
from pylon.runners.launch.run import Options
from tests.runners.conftest import Toy

# As a variational autoencoder: three outputs for a batch of four, and the inputs are what is compared.
OWN = """
from torch import nn
from torch.utils.data import default_collate
from tests.runners.any_data import *
from pylon.data import DataLoader
from pylon.metrics import BaseMetric
from pylon.runners import SupervisedSingleTask

class Coder(nn.Module):
    def __init__(self):
        super().__init__()
        self.code, self.back = nn.Linear(3, 2), nn.Linear(2, 3)

    def forward(self, row):
        code = self.code(row)
        return self.back(code), code, code.square().mean(1)

class CodingTask(SupervisedSingleTask):
    def training_loss(self, batch):
        decoded, _, size = self.model(self.inputs(batch))
        return (decoded - self.inputs(batch)).square().mean() + size.mean()

    def target(self, batch):
        return self.inputs(batch)

class CodingTrainer(SupervisedSingleTaskTrainer):
    def make_task(self, model, criterion):
        return CodingTask(model, criterion, self.context.device)

class Distance(BaseMetric):
    directions = {"error": "lower"}

    def _statistics(self, outputs, target, idx):
        decoded, _, size = outputs
        assert len(size) == len(idx) != len(outputs) or len(idx) == 3
        return torch.stack([(decoded - target).square().mean(1), torch.ones(len(idx))], 1)

    def _scores(self, statistics):
        return {"error": statistics[:, 0] / statistics[:, 1]}

def three(datapoints):
    row, label = default_collate(datapoints)
    return label, row, row

def breaking(datapoints):
    raise LookupError("no vocabulary")  # in the collate function

class Three(Rows):
    def __getitem__(self, index):
        return [*super().__getitem__(index), index]

"""


def run(toy: Toy, changes: str) -> PylonError | DataError | None:
    path = toy.folder / "toy_config_file.py"
    config = f"config = any_config({str(toy.work_dir)!r}, 'tuple', monitor=None)\n"
    path.write_text(f"{OWN}{config}{changes}\n")
    try:
        run_file(path, Options(device="cpu"), Console(file=io.StringIO()))
    except (PylonError, DataError) as error:
        return error
    return None


CODING = """
config |= {"model": {"class": Coder, "args": {}}, "metric": {"class": Distance, "args": {}}}
config["runner"]["class"] = CodingTrainer
config["criterion"] = None
"""


def test_task_with_its_own_loss_trains_without_a_criterion_on_a_model_of_several_outputs(toy: Toy) -> None:
    assert run(toy, CODING) is None
    history = json.loads((toy.work_dir / "history.json").read_text())
    assert len(history) == 3
    assert history[-1]["training_loss"] < history[0]["training_loss"]
    assert json.loads((toy.work_dir / "config.json").read_text())["criterion"] is None


UNLABELLED = """
class Unlabelled(Rows):
    def __getitem__(self, index):
        return super().__getitem__(index)[0]

class Size(Distance):
    def _statistics(self, outputs, target, idx):
        return torch.stack([outputs[2], torch.ones(len(idx))], 1)

for split in ("train", "val", "test"):
    config[f"{split}_dataset"]["class"] = Unlabelled
config["metric"]["class"] = Size
"""


def test_task_without_labels_is_refused_with_the_method_to_override(toy: Toy) -> None:
    error = run(toy, f"{CODING}{UNLABELLED}del CodingTask.target\n")
    assert isinstance(error, ConfigError)
    assert "labels: none" in str(error)
    assert "let a task of your own override target(self, batch)" in str(error)


def test_task_whose_target_is_none_trains_without_labels(toy: Toy) -> None:
    assert run(toy, f"{CODING}{UNLABELLED}CodingTask.target = lambda self, batch: None\n") is None


def test_task_that_calls_a_criterion_which_is_none_is_refused_before_the_first_step(toy: Toy) -> None:
    error = run(toy, "config['criterion'] = None")
    assert isinstance(error, ConfigError)
    assert "criterion: None, but the task calls it" in str(error)


def test_criterion_must_be_named_though_it_may_be_none(toy: Toy) -> None:
    error = run(toy, "del config['criterion']")
    assert "criterion: is missing" in str(error)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            "config['val_dataset']['class'] = Three",
            r"datapoint idx=0 is a tuple of 3, expected two: \(inputs, labels\).* collate_fn .*docs/data.md",
        ),
        (
            "config['val_dataloader']['args']['collate_fn'] = three",
            r"collate_fn three gives a tuple of 3, expected two",
        ),
    ],
)
def test_datapoint_of_three_is_refused_with_its_class_and_its_split(
    toy: Toy, changes: str, told: str
) -> None:
    error = run(toy, changes)
    assert error is not None and error.exit_code == 3
    assert re.search(told, str(error))
    name = "Three" if "Three" in changes else "Rows"
    assert f"in a batch of val_dataset ({name}) and its val_dataloader" in error.__notes__[0]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_exception_in_a_collate_function_names_it_its_line_and_its_datapoints(
    toy: Toy, num_workers: int
) -> None:
    error = run(
        toy, f"config['val_dataloader']['args'] |= {{'collate_fn': breaking, 'num_workers': {num_workers}}}"
    )
    assert isinstance(error, ConfigError)
    whole = "\n".join([str(error), *getattr(error, "__notes__", ())])
    assert "LookupError: no vocabulary" in whole
    assert "at collate_fn breaking of the datapoints 0, 1, 2, 3" in whole
    assert re.search(rf"{re.escape(str(Path(toy.folder)))}\S+, line \d+, in breaking: raise", whole)
    assert "Traceback (" not in whole
