"""Arguments that a class hands on as `**others: HandedOn` are checked as if it listed them itself."""

from pathlib import Path
from typing import Any

import pytest

from pylon.runners import (
    Checkpointing,
    HandedOn,
    Retention,
    RunContext,
    SupervisedSingleTaskEvaluator,
    SupervisedSingleTaskTrainer,
)
from pylon.runners.config import check_config, defaults_of
from pylon.runners.config.rehearsal import rehearsal_problems
from pylon.runners.errors import ConfigError
from tests.runners.toy import toy_config


class Handing(SupervisedSingleTaskTrainer):
    def __init__(self, context: RunContext, *, own: int, **others: HandedOn) -> None:
        super().__init__(context, **others)


class Giving(SupervisedSingleTaskTrainer):
    """Gives a required argument itself, so that no configuration must."""

    def __init__(self, context: RunContext, **others: Any) -> None:
        super().__init__(context, score="f1_changed", **others)


def problems(cls: type, arguments: dict[str, Any]) -> list[str]:
    config = toy_config(Path("run"), runner={"class": cls, "args": arguments})
    try:
        check_config(config, source="x")
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize("cls", [SupervisedSingleTaskTrainer, Handing])
def test_missing_argument_of_the_inherited_constructor_is_named(cls: type) -> None:
    own = {"own": 1} if cls is Handing else {}
    assert problems(cls, own) == [f"runner.args.score: is missing; {cls.__name__} needs it"]
    assert problems(cls, {**own, "score": "f1_changed"}) == []


def test_both_missing_arguments_of_an_evaluator_are_named() -> None:
    said = problems(SupervisedSingleTaskEvaluator, {})
    for name in ("checkpoint", "score"):
        assert f"runner.args.{name}: is missing; SupervisedSingleTaskEvaluator needs it" in said


def test_class_may_give_a_required_argument_itself() -> None:
    assert problems(Giving, {}) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("log_every_step", 3, "did you mean 'log_every_steps'?"),
        ("nothing_like_it", 3, "expected one of: checkpointing, deterministic, early_stopping, "),
        ("log_every_steps", "3", "expected int"),
        ("scheduler_interval", "batch", "expected Literal['epoch', 'step']"),
        ("max_batches_per_epoch", 1.5, "expected int | None"),
        ("tile_size", "8", "expected int | None"),
        ("checkpointing", {"class": Retention, "args": {}}, "Checkpointing | None"),
        ("context", 1, "is given by the runner: remove it"),
    ],
)
def test_wrong_argument_of_any_depth_is_told_exactly(name: str, value: Any, words: str) -> None:
    (problem,) = problems(SupervisedSingleTaskTrainer, {"score": "f1_changed", name: value})
    assert problem.startswith(f"runner.args.{name} is ")
    assert words in problem


def test_defaults_are_those_of_the_constructors_that_all_is_handed_on_to() -> None:
    defaults = defaults_of(Handing)
    assert defaults["tile_overlap"] == 0
    assert defaults["log_every_steps"] == 10
    assert defaults["predictions"] == 8
    assert defaults["checkpointing"] is None
    assert "score" not in defaults
    assert defaults_of(Giving) == {}, "what it gives itself cannot be known"


def test_contradiction_is_found_where_the_default_is_one_half_of_it() -> None:
    kept = {"class": Retention, "args": {"every_steps": 6}}

    def found(cls: type, **arguments: Any) -> list[str]:
        runner = {"class": cls, "args": {"score": "f1_changed", "retention": kept, **arguments}}
        return [str(problem) for problem in rehearsal_problems(toy_config(Path("run"), runner=runner))]

    key_path = "runner.args.retention.args.every_steps is 6: expected "
    (problem,) = found(Handing)
    assert problem.startswith(key_path)
    (problem,) = found(Giving, checkpointing={"class": Checkpointing, "args": {"every_steps": 4}})
    assert problem.startswith(f"{key_path}a multiple")
    assert found(Giving) == [], "it may give `checkpointing` itself"
