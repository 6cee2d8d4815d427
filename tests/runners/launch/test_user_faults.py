"""What goes wrong in each class of a user's: the message names class, datapoint, file and line; exit code."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from pylon.data.errors import DataError
from pylon.runners.errors import PylonError
from pylon.runners.launch.file import run_file
from pylon.runners.launch.run import Options
from tests.runners.conftest import Toy

# A line that ends in the name of a fault is the one to be named.
CLASSES = """
import sys
from torch import nn
from torch.utils.data import Sampler
from pylon.metrics import BaseMetric
from pylon.runners import SupervisedSingleTask
from tests.runners.any_data import *
from tests.runners.any_data import Error, Linear, SquaredError, padded

class FaultyRows(Rows):
    def __init__(self, count, training=False):
        super().__init__(count)
        self.training = training

    def __len__(self):
        return 2.5 if FAULT == "length" else super().__len__()

    def __getitem__(self, index):
        row, label = super().__getitem__(index)
        if not self.training or index != 5:
            return row, label
        if FAULT == "file":
            open("/absent/5.png")  # file
        if FAULT == "exit":
            sys.exit(7)  # exit
        if FAULT == "stop":
            raise StopIteration  # stop
        if FAULT == "key":
            raise KeyError("absent")  # key
        if FAULT == "long":
            raise LookupError("much\\n" * 500)  # long
        changed = {
            "shape": (torch.ones(4), label), "dtype": (row.double(), label), "no label": (row, None),
            "text": (row, "cat"), "NaN": (row * float("nan"), label), "object": (object(), label),
            "length of label": (row, torch.ones(2)), "three": (row, label, 1), "none": None,
        }
        return changed.get(FAULT, (row, label))

def collate(datapoints):
    if FAULT == "collate":
        raise LookupError("no vocabulary")  # collate
    if FAULT == "collate stop":
        next(iter([]))  # collate stop
    return None if FAULT == "collate none" else torch.utils.data.default_collate(datapoints)

class Order(Sampler):
    def __init__(self):
        if FAULT == "sampler":
            raise RuntimeError("no order")  # sampler

    def __len__(self):
        return 10

    def __iter__(self):
        if FAULT == "order":
            raise RuntimeError("no order")  # order
        return iter(range(9 if FAULT == "short order" else 10))

class Net(Linear):
    calls = 0

    def __init__(self):
        super().__init__()
        if FAULT == "model":
            raise LookupError("no weights")  # model

    def forward(self, row):
        Net.calls += 1
        if FAULT == "forward" and Net.calls > 7:
            raise LookupError("late")  # forward
        outputs = self.layers(row[:, :2] if FAULT == "layer" else row)  # layer
        return None if FAULT == "outputs" else outputs

class Loss(SquaredError):
    def forward(self, outputs, target):
        if FAULT == "criterion":
            raise LookupError("no loss")  # criterion
        loss = super().forward(outputs, target)
        return {"loss none": None, "loss vector": outputs, "loss number": 1.0}.get(FAULT, loss)

class Distance(Error):
    def _statistics(self, outputs, target, idx):
        if FAULT == "metric":
            raise LookupError("no score")  # metric
        rows = super()._statistics(outputs, target, idx)
        return {"rows": rows[1:], "list": rows.tolist(), "one": rows.sum()}.get(FAULT, rows)

    def _scores(self, statistics):
        scores = super()._scores(statistics)
        changed = {"no scores": None, "number": {"error": 0.5}, "sum": {"error": scores["error"].sum()}}
        return changed.get(FAULT, scores)

class Task(SupervisedSingleTask):
    def training_loss(self, batch):
        return batch["images"] if FAULT == "task" else super().training_loss(batch)  # task

class Trainer(SupervisedSingleTaskTrainer):
    def make_task(self, model, criterion):
        if FAULT == "trainer":
            raise LookupError("no task")  # trainer
        return None if FAULT == "no task" else Task(model, criterion, self.context.device)

class Descent(torch.optim.SGD):
    def step(self, closure=None):
        if FAULT == "optimizer":
            raise LookupError("no step")  # optimizer
        return super().step(closure)

class Schedule(torch.optim.lr_scheduler.StepLR):
    def step(self, epoch=None):
        if FAULT == "scheduler" and self.last_epoch > 0:
            raise LookupError("no rate")  # scheduler
        return super().step(epoch)
"""
CONFIG = """
config["runner"]["class"] = Trainer
config["runner"]["args"]["checkpointing"] = None
config |= {"epochs": 2, "model": {"class": Net, "args": {}}, "criterion": {"class": Loss, "args": {}}}
config |= {"metric": {"class": Distance, "args": {}}, "optimizer": {"class": Descent, "args": {"lr": 0.1}}}
config["scheduler"] = {"class": Schedule, "args": {"step_size": 1}}
config["train_dataset"] = {"class": FaultyRows, "args": {"count": 10, "training": True}}
ORDER = {"sampler": {"class": Order, "args": {}}} if FAULT.endswith(("sampler", "order")) else {}
config["train_dataloader"]["args"] = {"batch_size": 4, "num_workers": WORKERS, **ORDER}
if FAULT.startswith("collate"):
    config["val_dataloader"]["args"]["collate_fn"] = collate
"""


def failed(toy: Toy, fault: str, workers: int) -> tuple[int, str]:
    """The exit code, and what the command line prints."""
    path = toy.folder / "toy_config_file.py"
    base = f"config = any_config({str(toy.work_dir)!r}, 'tuple', monitor=None)\n"
    path.write_text(f"FAULT, WORKERS = {fault!r}, {workers}\n{CLASSES}{base}{CONFIG}")
    with pytest.raises((PylonError, DataError)) as caught:
        run_file(path, Options(device="cpu"), Console(file=io.StringIO()))
    return caught.value.exit_code, "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])


def place(toy: Toy, fault: str) -> str:
    path = toy.folder / "toy_config_file.py"
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.endswith(f"  # {fault}"):
            return f"in {path}, line {number}, in "
    return ""


IN_THE_DATA = [
    ("file", 3, ["datapoint 5 of FaultyRows cannot be read: FileNotFoundError: ", "'/absent/5.png'"]),
    ("exit", 3, ["datapoint 5 of FaultyRows raises SystemExit: 7"]),
    ("stop", 3, ["datapoint 5 of FaultyRows raises StopIteration"]),
    ("key", 1, ["KeyError: 'absent'", "at datapoint 5 of FaultyRows"]),
]
IN_THE_DATA_WITHOUT_A_LINE = [
    ("shape", 3, ["idx=4 and idx=5 cannot be one batch", "[0] is (3,) torch.float32 next to (4,)"]),
    ("dtype", 3, ["idx=4 and idx=5 cannot be one batch", "torch.float32 next to (3,) torch.float64"]),
    ("no label", 3, ["idx=4 and idx=5 cannot be one batch", "[1] is (1,) torch.float32 next to None"]),
    ("text", 3, ["idx=4 and idx=5 cannot be one batch", "[1] is (1,) torch.float32 next to a str"]),
    ("length of label", 3, ["idx=4 and idx=5 cannot be one batch", "[1] is (1,) torch.float32 next to (2,)"]),
    ("object", 3, ["idx=4 and idx=5 cannot be one batch", "[0] is (3,) torch.float32 next to a object"]),
    ("three", 3, ["idx=4 and idx=5 cannot be one batch", "a tuple of 2 next to a tuple of 3"]),
    ("none", 3, ["idx=4 and idx=5 cannot be one batch", "a tuple of 2 next to None"]),
    ("NaN", 1, ["the loss is nan", "inputs of datapoint idx=5"]),
    ("length", 3, ["FaultyRows.__len__ gives no number of datapoints ('float'"]),
]
IN_OTHER_CLASSES = [
    ("collate", 2, ["val_dataset is Rows: fails", "at collate_fn collate of the datapoints 0, 1, 2, 3"]),
    ("collate stop", 3, ["collate_fn collate of the datapoints 0, 1, 2, 3 raises StopIteration"]),
    ("collate none", 3, ["collate_fn collate gives None, expected (inputs, labels)"]),
    ("sampler", 1, ["RuntimeError: no order", "while train_dataloader.args.sampler (Order) was built"]),
    ("order", 2, ["train_dataset is FaultyRows: fails when a batch is read: RuntimeError: no order"]),
    ("short order", 3, ["sampler Order gives 9 of an epoch, but its length is 10"]),
    ("model", 1, ["LookupError: no weights", "while model (Net) was built"]),
    ("forward", 1, ["LookupError: late", "in the module model (Net)", "batch of the datapoints "]),
    (
        "layer",
        2,
        ["model is Net: fails", "in the module model.layers.0 (Linear)", "idx=0, 1, 2, 3", "(4, 3) float32"],
    ),
    ("outputs", 2, ["metric is Distance: fails", "outputs None"]),
    ("criterion", 2, ["criterion is Loss: fails in a rehearsal of a training step: LookupError: no loss"]),
    ("loss none", 2, ["criterion Loss gives NoneType as loss"]),
    ("loss vector", 2, ["criterion Loss gives a loss of shape (4, 1)"]),
    ("loss number", 2, ["criterion Loss gives float as loss"]),
    ("metric", 2, ["metric is Distance: fails in a rehearsal of validation: LookupError: no score"]),
    ("rows", 2, ["Distance._statistics gives shape (3, 2) for 4 datapoints, expected a tensor (4, ...)"]),
    ("list", 2, ["Distance._statistics gives a list for 4 datapoints"]),
    ("one", 2, ["Distance._statistics gives shape () for 4 datapoints"]),
    ("no scores", 2, ["Distance._scores gives a NoneType, expected a dict of tensors (1,)"]),
    ("number", 2, ["Distance._scores gives float for 'error', expected a dict of tensors (1,)"]),
    ("sum", 2, ["Distance._scores gives () for 'error', expected a dict of tensors (1,)"]),
    ("task", 2, ["runner is Task: fails in a rehearsal of a training step: KeyError: 'images'"]),
    ("trainer", 1, ["LookupError: no task"]),
    ("no task", 1, ["Trainer.make_task gives None"]),
    ("optimizer", 2, ["optimizer is Descent: fails in a rehearsal of a training step: LookupError"]),
    ("scheduler", 2, ["scheduler is Schedule: fails at its step 2 of 2", "LookupError: no rate"]),
]


def check(toy: Toy, fault: str, code: int, told: list[str], workers: int = 0) -> None:
    seen, text = failed(toy, fault, workers)
    assert all(one in text for one in told), text
    assert seen == code, text
    assert place(toy, fault) in text, text
    assert "Traceback (" not in text
    assert text.count("The traceback is in") <= 1
    if place(toy, fault):
        assert "Traceback (" in (toy.work_dir / "train.log").read_text(encoding="utf-8")
        assert json.loads((toy.work_dir / "state.json").read_text())["state"] == "failed"


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("fault", "code", "told"), IN_THE_DATA)
def test_error_in_the_middle_of_an_epoch_names_the_datapoint_and_the_line(
    toy: Toy, fault: str, code: int, told: list[str], workers: int
) -> None:
    check(toy, fault, code, told, workers)


@pytest.mark.parametrize(("fault", "code", "told"), IN_THE_DATA_WITHOUT_A_LINE)
def test_value_that_does_not_fit_is_named_with_its_datapoint(
    toy: Toy, fault: str, code: int, told: list[str]
) -> None:
    check(toy, fault, code, told)


@pytest.mark.parametrize(("fault", "code", "told"), IN_OTHER_CLASSES)
def test_error_in_each_class_names_it_and_the_line(toy: Toy, fault: str, code: int, told: list[str]) -> None:
    check(toy, fault, code, told)


def test_long_text_is_shown_by_its_beginning_and_is_whole_in_the_log(toy: Toy, tmp_path: Path) -> None:
    _, text = failed(toy, "long", 0)
    assert text.count("much") < 15
    assert "all of it is in the log" in text
    assert (toy.work_dir / "train.log").read_text().count("much\n") >= 500
