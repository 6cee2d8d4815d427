"""An error in the user's own code names its file and line, the module, and the datapoint."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from pylon.data import TransformError
from pylon.runners.errors import ConfigError, PylonError, TrainingError
from pylon.runners.launch.file import run_file
from pylon.runners.launch.run import Options
from pylon.runners.user_code import explanation, message
from tests.runners.conftest import Toy

CLASSES = """
import torch
from tests.runners.toy import *

class Mismatched(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Conv2d(5, 2, 1))

    def forward(self, img_1, img_2):
        return self.encoder(torch.cat([img_1, img_2], dim=1))  # mismatch

class OutOfRange(ToyCriterion):
    def forward(self, logits, target):
        return nn.functional.cross_entropy(logits, target + 5)  # out of range

class TwoArguments(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)

class Breaking(ToyDataset):
    what = KeyError("missing")

    def _load_datapoint(self, annotation):
        if annotation == 3:
            raise self.what  # in the dataset
        return super()._load_datapoint(annotation)

class BreakingInTwoLines(Breaking):
    what = RuntimeError("first line\\nsecond line")

class BreakingOddly(Breaking):
    what = TwoArguments("this", "that")

class Refusing:
    def __call__(self, datapoint, generator):
        raise ValueError("no blue here")  # in the transform

class BreakingMetric(SemanticSegmentationMetric):
    def update(self, outputs, target, idx):
        self._add(outputs)

    def _add(self, outputs):
        raise ZeroDivisionError("in a metric")  # in the metric

class BreakingTrainer(SupervisedSingleTaskTrainer):
    def make_task(self, model, criterion):
        return self.absent  # in the trainer

class Unbuildable(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear("wide", width)  # in the constructor

class HalfBuilt(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(2, 2)  # before Module.__init__
"""
WORKERS = "{'class': DataLoader, 'args': {'batch_size': 5, 'num_workers': 2}}"
VALIDATION = "val_dataset={{'class': {}, 'args': {{'data_root': '.', 'split': 'val'{}}}}}"


def failed(toy: Toy, changes: str, *, rehearsal: bool = False) -> PylonError | TransformError:
    path = toy.write(changes)
    path.write_text(CLASSES + path.read_text())
    with pytest.raises((PylonError, TransformError)) as caught:
        run_file(path, Options(device="cpu", rehearsal=rehearsal), Console(file=io.StringIO()))
    assert "Traceback" in (toy.work_dir / "train.log").read_text()
    return caught.value


def place(toy: Toy, mark: str, function: str) -> str:
    """The line of the configuration file that ends in a comment."""
    path = toy.folder / "toy_config_file.py"
    lines = path.read_text().splitlines()
    number = next(number for number, line in enumerate(lines, start=1) if line.endswith(f"# {mark}"))
    return f"  in {path}, line {number}, in {function}: {lines[number - 1].strip()}"


def test_shape_mismatch_names_the_line_the_module_and_the_datapoints(toy: Toy) -> None:
    first, *lines, last = str(failed(toy, "model={'class': Mismatched, 'args': {}}")).splitlines()
    assert first.startswith("RuntimeError: Given groups=1, weight of size [2, 5, 1, 1]")
    assert lines[:2] == [place(toy, "mismatch", "forward"), "  in the module model.encoder.2 (Conv2d)"]
    assert lines[2].startswith("  with a batch of the datapoints ")
    assert last == f"The traceback is in {toy.work_dir / 'train.log'}"


def test_rehearsal_names_the_line_and_the_module_too(toy: Toy) -> None:
    error = failed(toy, "model={'class': Mismatched, 'args': {}}", rehearsal=True)
    assert "model is Mismatched: fails in a rehearsal of validation: RuntimeError: Given groups=1" in str(
        error
    )
    assert place(toy, "mismatch", "forward") in str(error)
    assert "in the module model.encoder.2 (Conv2d)" in str(error)
    assert "datapoints idx=" in str(error)
    assert str(error).count("The traceback is in") == 1
    assert not hasattr(error, "__notes__")


def test_label_out_of_range_names_the_line_of_the_criterion(toy: Toy) -> None:
    text = str(failed(toy, "criterion={'class': OutOfRange, 'args': {}}"))
    assert text.startswith("IndexError: Target 5 is out of bounds.\n" + place(toy, "out of range", "forward"))
    assert "in the module criterion (OutOfRange)" in text


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        ("Breaking", "KeyError: 'missing'"),
        ("BreakingInTwoLines", "RuntimeError: first line\nsecond line"),
    ],
)
@pytest.mark.parametrize("workers", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_exception_in_the_dataset_names_the_line_and_the_datapoint(
    toy: Toy, cls: str, text: str, *, workers: bool
) -> None:
    loader = f"val_dataloader={WORKERS}" if workers else ""
    shown = str(failed(toy, f"{VALIDATION.format(cls, '')}, {loader}"))
    assert shown.startswith(f"{text.splitlines()[0]}\n")
    assert place(toy, "in the dataset", "_load_datapoint") in shown
    assert f"  at datapoint 3 (3) of {cls} 'val'" in shown
    assert "Original Traceback" not in shown
    assert all(line in shown for line in text.splitlines())


@pytest.mark.slow
def test_exception_that_cannot_be_made_again_here_is_shown_as_the_worker_saw_it(toy: Toy) -> None:
    shown = str(failed(toy, f"{VALIDATION.format('BreakingOddly', '')}, val_dataloader={WORKERS}"))
    assert "TwoArguments: ('this', 'that')" in shown
    assert place(toy, "in the dataset", "_load_datapoint") in shown


@pytest.mark.parametrize("workers", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_refusal_of_an_own_transform_keeps_its_exit_code_and_gets_its_line(
    toy: Toy, *, workers: bool
) -> None:
    transforms = ", 'transforms': {'class': Refusing, 'args': {}}"
    loader = f"val_dataloader={WORKERS}" if workers else ""
    error = failed(toy, f"{VALIDATION.format('ToyDataset', transforms)}, {loader}")
    assert isinstance(error, TransformError)
    assert place(toy, "in the transform", "__call__") in error.__notes__


def test_error_in_an_own_metric_names_its_line(toy: Toy) -> None:
    arguments = {"num_classes": 2, "class_names": ["unchanged", "changed"]}
    metric = f"{{'class': BreakingMetric, 'args': {arguments}}}"
    text = str(failed(toy, f"metric={metric}"))
    assert text.startswith(f"ZeroDivisionError: in a metric\n{place(toy, 'in the metric', '_add')}")


@pytest.mark.slow
def test_error_in_an_own_trainer_names_its_line(toy: Toy) -> None:
    runner = "{'class': BreakingTrainer, 'args': {'score': 'f1_changed'}}"
    error = failed(toy, f"runner={runner}")
    assert isinstance(error, TrainingError)
    assert place(toy, "in the trainer", "make_task") in str(error)


def test_constructor_that_refuses_its_arguments_gets_its_line(toy: Toy) -> None:
    error = failed(toy, "model={'class': Unbuildable, 'args': {'width': 3}}")
    assert isinstance(error, ConfigError)
    assert place(toy, "in the constructor", "__init__") in error.__notes__


def test_model_that_is_half_built_gets_its_line(toy: Toy) -> None:
    error = failed(toy, "model={'class': HalfBuilt, 'args': {}}")
    assert place(toy, "before Module.__init__", "__init__") in str(error)
    assert "in the module" not in str(error)


@pytest.mark.slow
def test_console_and_state_have_what_the_message_has(toy: Toy) -> None:
    path = toy.write("model={'class': Mismatched, 'args': {}}")
    path.write_text(CLASSES + path.read_text())
    ended = toy.launch_file(path)
    assert ended.returncode == 2
    assert "in the module model.encoder.2 (Conv2d)" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "in the module model.encoder.2 (Conv2d)" in (toy.work_dir / "state.json").read_text()


class Wrapping(nn.Module):
    """As DistributedDataParallel and torch.compile wrap a model."""

    def __init__(self, inner: nn.Module, name: str) -> None:
        super().__init__()
        setattr(self, name, inner)
        self.name = name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = getattr(self, self.name)(x)
        return result


@pytest.mark.parametrize(
    ("cls", "name"), [("DistributedDataParallel", "module"), ("OptimizedModule", "_orig_mod")]
)
@pytest.mark.parametrize(
    ("inner", "path"),
    [(nn.Sequential(nn.ReLU(), nn.Linear(3, 1)), "net.1 (Linear)"), (nn.Linear(3, 1), "net (Linear)")],
)
def test_wrapper_of_a_model_is_no_part_of_a_modules_path(
    cls: str, name: str, inner: nn.Module, path: str
) -> None:
    class Task:
        def __init__(self) -> None:
            self._net = type(cls, (Wrapping,), {})(inner, name)

        def predict(self) -> torch.Tensor:
            result: torch.Tensor = self._net(torch.zeros(2, 4))
            return result

    with pytest.raises(RuntimeError) as caught:
        Task().predict()
    assert f"in the module {path}" in explanation(caught.value)


class Hostile(nn.Module):
    """Raises whatever is asked of it."""

    def named_modules(self, *_: object, **__: object) -> Iterator[tuple[str, nn.Module]]:  # type: ignore[override]
        raise RuntimeError("no")

    def forward(self) -> None:
        raise ValueError("the error itself")


def test_object_that_cannot_be_looked_at_does_not_hide_the_error() -> None:
    with pytest.raises(ValueError, match="the error itself") as caught:
        Hostile()()
    (line,) = explanation(caught.value)
    assert line.endswith('in forward: raise ValueError("the error itself")')
    assert message(caught.value) == "ValueError: the error itself"


def test_pylon_and_installed_packages_are_not_the_users(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run_file(tmp_path / "absent.py", Options(), Console(file=io.StringIO()))
    (line,) = explanation(caught.value)
    assert f"in {__file__}" in line, "the last frames are Pylon's, and this one is not"
