"""The optimizer of a training: which parameters it gets, in which groups, and how it forgets gradients."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from pylon.runners.config.groups import (
    Entry,
    description,
    form_problems,
    grouped,
    named_argument,
    option_problems,
)
from pylon.runners.errors import ConfigError, ConfigProblem

logger = logging.getLogger(__name__)


def build_optimizer(
    build: Callable[..., torch.optim.Optimizer],
    cls: type,
    model: torch.nn.Module,
    criterion: torch.nn.Module,
    entries: Sequence[Entry],
) -> torch.optim.Optimizer:
    """The optimizer of a model's parameters, and of those of its criterion that need a gradient.

    Args:
        build: builds it from what it is given.
        cls: its class.
        model: all of its parameters are given.
        criterion: its parameters are a group of their own, the last one.
        entries: which of the model's parameters have values of their own.

    Raises:
        ConfigError: an entry is wrong, or means no parameter.
    """
    _refuse(form_problems(entries, cls))
    learnt = {name: one for name, one in criterion.named_parameters() if one.requires_grad}
    if named_argument(cls) == "named_parameters":
        of_criterion = [(f"criterion.{name}", one) for name, one in learnt.items()]
        return build(named_parameters=[*model.named_parameters(), *of_criterion])
    if issubclass(cls, torch.optim.LBFGS):
        return build(params=[*model.parameters(), *learnt.values()])  # it has one group for all
    groups = grouped(model, entries) if entries else [{"params": list(model.parameters())}]
    of_criterion_group: list[dict[str, Any]] = [{"params": [*learnt.values()]}] if learnt else []
    optimizer = build(params=[*groups, *of_criterion_group] if entries or learnt else model.parameters())
    _refuse(option_problems(entries, optimizer))
    return optimizer


def forget_gradients(optimizer: torch.optim.Optimizer) -> None:
    """What its `zero_grad` does, in a third of the time: torch's own names itself to a profiler unasked."""
    is_torchs = getattr(optimizer.zero_grad, "__func__", None) is torch.optim.Optimizer.zero_grad
    if not is_torchs or torch.autograd._profiler_enabled():  # type: ignore[attr-defined]  # no stub has it
        optimizer.zero_grad(set_to_none=True)
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def report_groups(model: torch.nn.Module, entries: Sequence[Entry]) -> None:
    """Log which of a model's parameters have values of their own; nothing without entries."""
    if entries:
        logger.info("parameters of the model by group: %s", description(grouped(model, entries)))


def _refuse(problems: Iterable[ConfigProblem]) -> None:
    found = [*problems]
    if found:
        raise ConfigError("configuration", found)
