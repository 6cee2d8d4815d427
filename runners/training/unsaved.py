"""Counters of the user's own classes that a training step changes and no checkpoint has."""

import logging
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

import torch

from pylon.runners.user_code import is_own

logger = logging.getLogger(__name__)

Numbers = dict[str, int | float]

_SAVES_ITSELF = ("get_extra_state", "state_dict", "_save_to_state_dict")


def counters_of(parts: Mapping[str, object]) -> Numbers:
    """Plain numbers that objects of the user's own classes have as attributes, each by its place.

    Args:
        parts: model, criterion, task and optimizer, by name. Of a module all that are in it are looked at.
    """
    found: Numbers = {}
    for place, one in _objects(parts):
        if not _is_of_user(type(one)):
            continue
        for name, value in vars(one).items():
            if type(value) in {int, float}:
                found[f"{place}.{name}"] = value
    return found


def warn_of_unsaved(before: Numbers, after: Numbers) -> None:
    """Log which of these numbers have changed in a step."""
    changed = [
        f"{place} (from {former:g} to {after[place]:g})"
        for place, former in before.items()
        if place in after and after[place] != former
    ]
    if changed:
        logger.warning(
            "training steps change %s, which no checkpoint has. If a step depends on it, a resumed run "
            "differs from one that was not interrupted: keep it in a buffer of the model or criterion "
            "(register_buffer).",
            ", ".join(changed),
            extra={"of_all_ranks": True},
        )


def _objects(parts: Mapping[str, object]) -> Iterator[tuple[str, Any]]:
    for key, part in parts.items():
        if isinstance(part, torch.nn.Module):
            for name, module in part.named_modules():
                yield f"{key}.{name}" if name else key, module
        elif hasattr(part, "__dict__"):
            yield key, part


def _is_of_user(cls: type) -> bool:
    """Whether a class is the user's own and leaves it to torch what is saved of it."""
    functions = [one for one in vars(cls).values() if isinstance(one, FunctionType)]
    if not functions or not is_own(functions[0].__code__.co_filename):
        return False
    return not any(
        name in vars(base) and not base.__module__.startswith("torch.")
        for base in cls.__mro__
        for name in _SAVES_ITSELF
    )
