"""Optimizers that a trainer drives in a way of its own, and what it cannot combine with them."""

import inspect
from collections.abc import Iterator
from typing import Any

import torch

from pylon.runners.config.groups import KEY as GROUPS_KEY
from pylon.runners.config.node import is_node
from pylon.runners.config.signatures import shown
from pylon.runners.errors import ConfigProblem


def needs_closure(cls: type) -> bool:
    """Whether `step` of an optimizer needs a closure, with which it evaluates the loss several times."""
    step = getattr(cls, "step", None)
    closure = None if step is None else inspect.signature(step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def closure_problem(cls: type, precision: object, non_finite: object) -> ConfigProblem | None:
    """What of a trainer's `stepping` a step with a closure cannot work with, None if nothing."""
    if not needs_closure(cls):
        return None
    why = f"{cls.__name__} evaluates the loss several times in a step"
    if precision == "float16":
        expected = f"expected 'bfloat16' or 'float32': {why}, and a loss scaler cannot leave out one of them"
        return ConfigProblem("runner.args.stepping.args.precision", "'float16'", expected)
    if non_finite is not None:
        expected = f"expected None: {why}, and the weights of before the step are gone when a later one fails"
        return ConfigProblem("runner.args.stepping.args.non_finite", shown(non_finite), expected)
    return None


def optimizer_problems(config: dict[str, Any]) -> Iterator[ConfigProblem]:
    """Why a trainer cannot drive the optimizer of a checked configuration; nothing is built."""
    node, arguments = config.get("optimizer"), config["runner"]["args"]
    if node is None:
        return
    stepping = arguments.get("stepping")
    given = stepping["args"] if is_node(stepping) else {}
    if problem := closure_problem(node["class"], given.get("precision"), given.get("non_finite")):
        yield problem
    if issubclass(node["class"], torch.optim.LBFGS) and arguments.get("parameter_groups"):
        yield ConfigProblem(
            GROUPS_KEY,
            shown(arguments["parameter_groups"]),
            f"expected none: {node['class'].__name__} has one group for all parameters",
        )
