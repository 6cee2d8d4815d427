"""A configuration is checked whole before anything is built: each problem with place, value, expectation."""

import collections
import enum
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pylon.data import DataLoader
from pylon.metrics import BaseMetric
from pylon.runners.config import check_config
from pylon.runners.config.node import unshared
from pylon.runners.errors import ConfigError
from tests.runners.toy import ToyCriterion, ToyDataset, ToyModel, toy_config


def problems_of(config: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as raised:
        check_config(config, source=Path("some_run.py"))
    assert "some_run.py" in str(raised.value)
    return {problem.key_path: str(problem) for problem in raised.value.problems}


def test_sound_configuration_passes() -> None:
    check_config(toy_config(Path("run")), source="x")


def test_key_that_is_not_taken_is_one_problem() -> None:
    with pytest.raises(ConfigError) as raised:
        check_config(toy_config(Path("run")) | {"epoch": 3}, source="x")
    (problem,) = raised.value.problems
    assert "did you mean 'epochs'?" in str(problem)


def test_checking_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise AssertionError("built during the check")

    monkeypatch.setattr(ToyCriterion, "forward", refuse)
    monkeypatch.setattr(ToyDataset, "__getitem__", refuse)
    check_config(toy_config(Path("run")), source="x")


@pytest.mark.parametrize(
    ("change", "key_path", "words"),
    [
        ({"optimiser": {"class": torch.optim.SGD, "args": {}}}, "optimiser", ["did you mean 'optimizer'?"]),
        ({"epochs": "3"}, "epochs", ["'3'", "whole number from 1 on"]),
        ({"epochs": True}, "epochs", ["True"]),
        ({"epochs": 0}, "epochs", ["0", "from 1 on"]),
        ({"work_dir": ""}, "work_dir", ["path of a directory"]),
        (
            {"model": {"class": ToyModel, "args": {"chanels": 4}}},
            "model.args.chanels",
            ["did you mean 'channels'?"],
        ),
        (
            {"model": {"class": ToyModel, "args": {"channels": "4"}}},
            "model.args.channels",
            ["'4'", "expected int"],
        ),
        (
            {"model": {"class": ToyModel, "args": {"channels": True}}},
            "model.args.channels",
            ["True", "expected int"],
        ),
        ({"model": {"class": "ToyModel", "args": {}}}, "model.class", ["'ToyModel'", "expected a class"]),
        ({"model": {"class": ToyModel(), "args": {}}}, "model.class", ["expected a class"]),
        ({"model": {"class": ToyModel}}, "model.args", ["is missing"]),
        ({"model": {"args": {}}}, "model.class", ["is missing"]),
        (
            {"model": {"class": ToyModel, "args": {}, "arg": 1}},
            "model.arg",
            ["expected only 'class' and 'args'"],
        ),
        ({"model": None}, "model", ["None", "expected {'class'"]),
        ({"optimizer": {"class": torch.optim.SGD, "args": {"lr": "fast"}}}, "optimizer.args.lr", ["'fast'"]),
        (
            {"optimizer": {"class": torch.optim.SGD, "args": {"params": []}}},
            "optimizer.args.params",
            ["is given by the runner"],
        ),
        ({"metric": {"class": len, "args": {}}}, "metric.class", ["expected a class"]),
        ({"metric": {"class": BaseMetric, "args": {}}}, "metric.class", ["BaseMetric", "is abstract"]),
        ({"work_dir": "runs/.."}, "work_dir", ["ending in its name"]),
        (
            {"criterion": {"class": ToyCriterion, "args": {"what": float("nan")}}},
            "criterion.args.what",
            ["nan"],
        ),
        (
            {"runner": {"class": ToyModel, "args": {}}},
            "runner",
            ["expected {'class': a trainer or evaluator"],
        ),
    ],
)
def test_problem_names_key_value_and_expectation(
    change: dict[str, Any], key_path: str, words: Sequence[str]
) -> None:
    found = problems_of({**toy_config(Path("run")), **change})
    assert key_path in found, found
    for word in words:
        assert word in found[key_path]


def test_class_that_tells_no_signature_is_left_to_its_constructor() -> None:
    check_config({**toy_config(Path("run")), "monitor": {"class": dict, "args": {"a": 1}}}, source="x")


def test_problems_come_in_the_order_of_the_file() -> None:
    wrong = {f"wrong_{number}": 1 for number in range(20)}
    assert [key for key in problems_of({**toy_config(Path("run")), **wrong}) if key in wrong] == list(wrong)


def test_missing_argument_is_named() -> None:
    config = toy_config(Path("run"))
    del config["train_dataset"]["args"]["split"]
    assert "ToyDataset needs it" in problems_of(config)["train_dataset.args.split"]


def test_missing_key_is_named() -> None:
    config = toy_config(Path("run"))
    del config["criterion"], config["val_dataset"]
    assert set(problems_of(config)) == {"criterion", "val_dataset"}


def test_all_problems_come_at_once() -> None:
    config = toy_config(Path("run"), epochs=-1, modle={})
    config["train_dataset"]["args"]["transforms"]["args"]["transforms"].append({"class": 3, "args": {}})
    config["train_dataloader"]["args"]["batch_size"] = 1.5
    assert {
        "epochs",
        "modle",
        "train_dataset.args.transforms.args.transforms.1.class",
        "train_dataloader.args.batch_size",
    } <= set(problems_of(config))


def seeds(**changes: Any) -> dict[str, Any]:
    config = toy_config(Path("run"))
    del config["seed"]
    return (
        config | {"init_seed": 1, "train_seeds": [1, 2, 3], "val_seeds": [4, 5, 6], "test_seed": 7} | changes
    )


def test_seeds_can_be_listed() -> None:
    check_config(seeds(), source="x")


@pytest.mark.parametrize(
    ("config", "key_path", "words"),
    [
        (seeds(train_seeds=[1, 2]), "train_seeds", "2 seeds expected one per epoch, and epochs is 3"),
        (seeds(val_seeds=[1, 2, -3]), "val_seeds", "whole numbers from 0"),
        (seeds(init_seed=1.0), "init_seed", "whole number"),
        (seeds(seed=1), "seed", "not both"),
    ],
)
def test_wrong_seeds(config: dict[str, Any], key_path: str, words: str) -> None:
    text = problems_of(config)[key_path].replace(": ", " ").replace("is 2 seeds", "2 seeds")
    assert words in text


def test_no_seed_at_all_is_named() -> None:
    config = toy_config(Path("run"))
    del config["seed"]
    assert "seed" in problems_of(config)


def test_nested_class_must_fit_the_annotation() -> None:
    class Owner:
        def __init__(self, part: torch.nn.Module) -> None: ...

    from pylon.runners.config.signatures import argument_problems

    fits = argument_problems(Owner, {"part": {"class": ToyModel, "args": {}}}, frozenset(), "owner.args")
    assert list(fits) == []
    (problem,) = argument_problems(
        Owner, {"part": {"class": ToyDataset, "args": {}}}, frozenset(), "owner.args"
    )
    assert "expected Module" in str(problem)


def test_class_in_an_argument_of_any_type_passes() -> None:
    order = {"class": torch.utils.data.WeightedRandomSampler, "args": {"weights": [1.0], "num_samples": 3}}
    changed = {"class": DataLoader, "args": {"batch_size": 1, "sampler": order}}
    check_config({**toy_config(Path("run")), "train_dataloader": changed}, source="x")


def test_list_stands_for_a_tuple_and_an_int_for_a_float() -> None:
    def accepts(annotation: Any, value: Any) -> bool:
        from pylon.runners.config.signatures import type_problem

        return type_problem(value, annotation) is None

    assert accepts(tuple[int, int], [1, 2])
    assert not accepts(tuple[int, int], [1, 2, 3])
    assert accepts(float, 1)
    assert not accepts(int, 1.0)
    assert accepts(bool | None, True)
    assert not accepts(float | None, True)
    assert accepts(Callable[..., Any], print)


class Colour(enum.IntEnum):
    RED = 1


class Rate(float):
    pass


@pytest.mark.parametrize(
    ("value", "key_path", "words"),
    [
        ({0: 1.0}, "what.0", ["the int 0 as its key", "expected text"]),
        ([{"a": {(1, 2): 1.0}}], "what.0.a.(1, 2)", ["the tuple (1, 2) as its key"]),
        ({"a": {True: 1}}, "what.a.True", ["the bool True as its key"]),
        (Colour.RED, "what", ["Colour.RED", "expected a number"]),
        (Rate(1.0), "what", ["1.0"]),
        ({1, 2}, "what", ["{1, 2}"]),
        (b"a", "what", ["b'a'"]),
        (len, "what", ["built-in function len"]),
        ([float("inf")], "what.0", ["inf"]),
        (collections.OrderedDict(a=float("nan")), "what.a", ["nan"]),
        (np.arange(2), "what", ["array"]),
        (1j, "what", ["1j"]),
        (collections.namedtuple("Size", "width height")(1, 2), "what", ["Size(width=1, height=2)"]),
    ],
)
def test_value_that_the_recorded_configuration_would_not_give_back_is_refused(
    value: object, key_path: str, words: Sequence[str]
) -> None:
    config = toy_config(Path("run"), criterion={"class": Untyped, "args": {"what": value}})
    found = problems_of(unshared(config))[f"criterion.args.{key_path}"]
    for word in words:
        assert word in found


class Untyped(torch.nn.Module):
    def __init__(self, what: Any) -> None:
        super().__init__()
        self.what = what
