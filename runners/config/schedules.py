"""Schedules of the learning rate: what a run gives to one, and what it cannot drive."""

import inspect
from collections.abc import Iterator
from typing import Any

from torch.optim import lr_scheduler

from pylon.metrics.directions import Direction
from pylon.runners.config.node import is_node
from pylon.runners.config.signatures import shown
from pylon.runners.errors import ConfigProblem

_MODES = {"higher": "max", "lower": "min"}


def is_schedule(value: object) -> bool:
    """Whether `value` is the node of a schedule; inside one, it gets the optimizer too."""
    return (
        is_node(value)
        and isinstance(value["class"], type)
        and issubclass(value["class"], lr_scheduler.LRScheduler)
    )


def takes_score(cls: type) -> bool:
    """Whether `step` of a scheduler needs a value: it gets the validation score, once per epoch."""
    return bool(_needed_by_step(cls))


def mode_of(node: dict[str, Any], direction: Direction) -> dict[str, str]:
    """The argument `mode` that follows from the score's direction; {} if the node gives it, or takes none."""
    cls = node["class"]
    if not issubclass(cls, lr_scheduler.ReduceLROnPlateau) or "mode" in node["args"]:
        return {}
    return {"mode": _MODES[direction]} if "mode" in inspect.signature(cls).parameters else {}


def schedule_problems(config: dict[str, Any]) -> Iterator[ConfigProblem]:
    """Why a trainer cannot step the scheduler of a checked configuration; nothing is built."""
    node, runner = config.get("scheduler"), config["runner"]
    if node is None:
        return
    cls, needed = node["class"], _needed_by_step(node["class"])
    if len(needed) > 1:
        expected = (
            f"has a step() that needs {', '.join(needed)}: expected one that needs nothing, or the "
            "validation score alone"
        )
        yield ConfigProblem("scheduler.class", cls.__name__, expected)
    if needed and runner["args"].get("scheduler_interval") == "step":
        expected = f"expected 'epoch': {cls.__name__} gets the validation score, once per epoch"
        yield ConfigProblem("runner.args.scheduler_interval", "'step'", expected)


def mode_problems(config: dict[str, Any], direction: Direction) -> Iterator[ConfigProblem]:
    """Why a configured `mode` does not fit the direction of the score."""
    node = config.get("scheduler")
    if node is None or not issubclass(node["class"], lr_scheduler.ReduceLROnPlateau):
        return
    mode, right = node["args"].get("mode"), _MODES[direction]
    if mode is not None and mode != right:
        expected = (
            f"expected {right!r}, or no mode: the score {config['runner']['args']['score']!r} is better when "
            f"{direction}"
        )
        yield ConfigProblem("scheduler.args.mode", shown(mode), expected)


def _needed_by_step(cls: type) -> list[str]:
    step = getattr(cls, "step", None)
    if step is None:
        return []
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [*inspect.signature(step).parameters.values()][1:]
    return [one.name for one in parameters if one.default is one.empty and one.kind in named]
