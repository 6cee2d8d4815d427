"""What a user's own classes must give, checked on arrival: errors name class, value and fix."""

from collections.abc import Mapping
from numbers import Real
from typing import Any, TypeVar

import torch

from pylon.metrics import BaseMetric
from pylon.runners.errors import ConfigError, ConfigProblem, TrainingError
from pylon.runners.keys import unknown_name

T = TypeVar("T")

_WAYS = ("higher", "lower")


def checked_loss(loss: Any, owner: str) -> torch.Tensor:  # noqa: ANN401 - whatever a user's class gave
    """The loss of a batch, if it is one.

    Args:
        loss: what was given as loss.
        owner: who gave it, as in 'criterion FocalLoss'.

    Raises:
        TrainingError: it is no floating-point tensor of one value.
    """
    if not isinstance(loss, torch.Tensor):
        raise TrainingError(f"{owner} gives {type(loss).__name__} as loss, expected a tensor of one value.")
    if loss.ndim != 0:
        raise TrainingError(
            f"{owner} gives a loss of shape {tuple(loss.shape)}, expected one value, of shape (). "
            "Reduce it, as by loss.mean()."
        )
    if not loss.is_floating_point():
        raise TrainingError(f"{owner} gives a loss of {loss.dtype}, expected a floating-point type.")
    return loss


def check_learnable(loss: torch.Tensor, owner: str) -> None:
    """Raises TrainingError if no gradient leads from the loss to any weight."""
    if not loss.requires_grad:
        raise TrainingError(
            f"{owner} gives a loss that depends on no weight. Compute it from the model's outputs, without "
            "detach(), item() or torch.no_grad()."
        )


def checked_task(task: T, maker: str, methods: tuple[str, ...]) -> T:
    """What a runner's `make_task` gave, if it has the methods that the runner will call.

    Args:
        task: what was given.
        maker: who gave it, as in 'OwnTrainer.make_task'.
        methods: what will be called.

    Raises:
        TrainingError: one is absent.
    """
    missing = [name for name in methods if not callable(getattr(task, name, None))]
    if missing:
        given = "None" if task is None else f"a {type(task).__name__}, which has no {', '.join(missing)}"
        raise TrainingError(
            f"{maker} gives {given}. Return a task: an object with {', '.join(methods)}, such as "
            "a SupervisedSingleTask."
        )
    return task


def checked_scores(
    summary: Any,  # noqa: ANN401 - whatever a user's class gave
    baselines: Any,  # noqa: ANN401
    score: str,
    owner: str,
) -> float | None:
    """The leading score of a summary, if it and the baselines hold numbers that can be reported.

    Args:
        summary: what the metric's `summarize` gave.
        baselines: what its `baselines` gave.
        score: the leading one's name.
        owner: the metric's class.

    Raises:
        TrainingError: the score is absent, or a score is neither a number nor None.
    """
    aggregated = summary.get("aggregated") if isinstance(summary, Mapping) else None
    if not isinstance(aggregated, Mapping) or score not in aggregated:
        seen = sorted(aggregated) if isinstance(aggregated, Mapping) else type(summary).__name__
        raise TrainingError(
            f"{owner}.summarize gives {seen}, expected {{'aggregated': {{{score!r}: ..., ...}}, ...}}."
        )
    if not isinstance(baselines, Mapping) or not all(isinstance(one, Mapping) for one in baselines.values()):
        raise TrainingError(
            f"{owner}.baselines gives {type(baselines).__name__}, expected a dict of scores for each name."
        )
    for source, scores in {"summarize": aggregated, **baselines}.items():
        for name, value in scores.items():
            if value is not None and not isinstance(value, Real):
                raise TrainingError(
                    f"{owner}: {name!r} of {source} is a {type(value).__name__}, expected a number or None. "
                    "Convert it, as by .item()."
                )
    leading: float | None = aggregated[score]
    return leading


def check_score(metric: BaseMetric, score: str) -> None:
    """Check that a metric has the score that a run is judged by.

    Raises:
        ConfigError: it does not, or a score has no direction.
    """
    check_directions(metric)
    if score not in metric.directions:
        problem = unknown_name(type(metric).__name__, score, sorted(metric.directions))
        raise ConfigError("configuration", [ConfigProblem("runner.args.score", repr(score), problem)])


def check_directions(metric: BaseMetric) -> None:
    """Check that a metric defines for each score which way is better.

    Raises:
        ConfigError: it does not.
    """
    directions: Any = metric.directions
    if not isinstance(directions, Mapping):
        seen = f"a {type(directions).__name__}"
    elif not directions:
        seen = "empty"
    else:
        wrong = [f"{way!r} for {score!r}" for score, way in directions.items() if way not in _WAYS]
        if not wrong:
            return
        seen = ", ".join(wrong)
    key_path = f"metric: {type(metric).__name__}.directions"
    expected = "expected 'higher' or 'lower' for each score, as in {'f1': 'higher'}"
    raise ConfigError("configuration", [ConfigProblem(key_path, seen, expected)])
