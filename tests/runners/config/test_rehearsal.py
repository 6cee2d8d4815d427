"""Values that only their class can judge are told before a run begins, and a sound configuration passes."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from pylon.monitor import SystemMonitor
from pylon.runners import Checkpointing, EarlyStopping, Retention, Stepping, SupervisedSingleTaskTrainer
from pylon.runners.config.rehearsal import rehearsal_problems
from tests.runners.toy import ToyCriterion, ToyDataset, ToyModel, toy_config


def with_arguments(cls: type = SupervisedSingleTaskTrainer, **arguments: Any) -> dict[str, Any]:
    runner = {"class": cls, "args": {"score": "f1_changed", **arguments}}
    return toy_config(Path("run"), runner=runner)


def told(config: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in rehearsal_problems(config)]


def node(cls: type, **arguments: Any) -> dict[str, Any]:
    return {"class": cls, "args": arguments}


def every(steps: int) -> dict[str, Any]:
    return node(Checkpointing, every_steps=steps)


@pytest.mark.slow
def test_sound_configuration_has_no_problem() -> None:
    assert told(toy_config(Path("run"))) == []
    kept = node(Retention, every_steps=6)
    assert told(with_arguments(checkpointing=every(3), retention=kept, stepping=node(Stepping))) == []


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (with_arguments(stepping=node(Stepping, clip_norm=0)), "runner.args.stepping.args.clip_norm is 0: "),
        (
            with_arguments(early_stopping=node(EarlyStopping, patience=0)),
            "runner.args.early_stopping.args.patience is 0: expected at least 1",
        ),
        (
            with_arguments(checkpointing=every(4), retention=node(Retention, every_steps=6)),
            "runner.args.retention.args.every_steps is 6: expected a multiple of "
            "checkpointing.args.every_steps, 4: ",
        ),
        (
            with_arguments(retention=node(Retention, every_steps=6)),
            "runner.args.retention.args.every_steps is 6: expected checkpointing with every_steps of this",
        ),
        (
            toy_config(Path("run"), scheduler=node(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1)),
            "scheduler is 'OneCycleLR': ",
        ),
        (toy_config(Path("run"), optimizer=node(torch.optim.AdamW, lr=-1.0)), "optimizer is 'AdamW': "),
    ],
)
def test_refused_value_is_told_with_its_key_path(config: dict[str, Any], problem: str) -> None:
    (said,) = told(config)
    assert said.startswith(problem)


def test_all_refused_values_are_told_at_once() -> None:
    config = with_arguments(
        checkpointing=node(Checkpointing, every_minutes=0),
        stepping=node(Stepping, ema_decay=1.0),
        early_stopping=node(EarlyStopping, patience=0),
    )
    config["metric"]["args"]["num_classes"] = 1
    config["optimizer"]["args"]["lr"] = -1.0
    config["test_dataset"]["args"]["split"] = "validation"
    said = told(config)
    assert len(said) == 6
    for key_path in (
        "runner.args.checkpointing.args.every_minutes",
        "metric.args.num_classes",
        "test_dataset.args.split",
    ):
        assert any(one.startswith(f"{key_path} is ") for one in said)


class Drawing(ToyCriterion):
    """Draws from every generator while it is built."""

    drawn: ClassVar[list[tuple[float, float, float]]] = []

    def __init__(self) -> None:
        super().__init__()
        self.drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))


def test_random_generators_are_as_before() -> None:
    Drawing.drawn.clear()
    config = toy_config(Path("run"), criterion=node(Drawing))
    assert told(config) == told(config) == []
    after = (random.random(), float(np.random.rand()), float(torch.rand(())))
    assert Drawing.drawn == [after, after]


@pytest.mark.parametrize("cls", [ToyModel, ToyDataset, torch.utils.data.DataLoader, SystemMonitor])
def test_models_data_and_monitors_are_not_built(cls: type, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[type] = []
    monkeypatch.setattr(cls, "__init__", lambda *_, **__: built.append(cls))
    config = with_arguments(teacher=node(cls))
    config["criterion"] = node(ToyCriterion, what=node(cls))
    assert told(config) == []
    assert built == []


class Grouping(torch.optim.SGD):
    """Biases in a group of their own; a model without any is refused."""

    def __init__(self, params: Iterable[torch.nn.Parameter], lr: float) -> None:
        parameters = list(params)
        groups = [[one for one in parameters if one.ndim < 2], [one for one in parameters if one.ndim > 1]]
        if not all(groups):
            raise ValueError("the model has no biases")
        if lr > 1:
            raise ValueError(f"lr: {lr}, expected up to 1")
        super().__init__([{"params": group} for group in groups], lr=lr)


class Limited(Grouping):
    """Refuses its learning rate before it looks at the parameters."""

    def __init__(self, params: Iterable[torch.nn.Parameter], lr: float) -> None:
        if lr > 1:
            raise ValueError(f"lr: {lr}, expected up to 1")
        super().__init__(params, lr)


def test_own_optimizer_that_only_the_model_can_satisfy_passes_unless_it_names_an_argument() -> None:
    assert told(toy_config(Path("run"), optimizer=node(Grouping, lr=0.1))) == []
    said = told(toy_config(Path("run"), optimizer=node(Limited, lr=2.0)))
    assert said == ["optimizer.args.lr is 2.0: expected up to 1"]


class Saving(SupervisedSingleTaskTrainer):
    """Gives an argument of its base itself."""

    def __init__(self, context: Any, **others: Any) -> None:
        super().__init__(context, checkpointing=Checkpointing(every_steps=3), **others)


def test_trainer_that_gives_an_argument_itself_passes() -> None:
    assert told(with_arguments(Saving, retention=node(Retention, every_steps=6))) == []


class Reading(ToyCriterion):
    """Reads a file that an earlier stage writes."""

    def __init__(self, path: str) -> None:
        super().__init__()
        Path(path).read_text()


def test_file_that_is_not_there_yet_is_left_to_the_run(tmp_path: Path) -> None:
    assert told(toy_config(tmp_path, criterion=node(Reading, path=str(tmp_path / "later")))) == []


class Folded(ToyDataset):
    SPLITS: ClassVar[tuple[str, ...]] = ("fold_0",)


def test_split_is_judged_by_the_class_itself() -> None:
    config = toy_config(Path("run"), val_dataset=node(Folded, data_root=".", split="fold_0"))
    assert told(config) == []
    config["val_dataset"]["args"]["split"] = "val"
    assert told(config) == ["val_dataset.args.split is 'val': expected a split of Folded: fold_0"]
