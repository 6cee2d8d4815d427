"""Counters of the user's own classes that a training step changes and no checkpoint has."""

import dis
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch

from pylon.runners.user_code import functions_of, is_own

logger = logging.getLogger(__name__)


class Attribute(NamedTuple):
    """A plain number that an object has.

    Attributes:
        place: of the object, such as 'model.layers.0'.
        name: of the attribute.
        cls: of the object.
    """

    place: str
    name: str
    cls: type


Numbers = dict[Attribute, int | float]

_LARGE = 2**63
_READS = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_SAVES_ITSELF = ("get_extra_state", "state_dict", "_save_to_state_dict")


def counters_of(parts: Mapping[str, object]) -> Numbers:
    """Plain numbers that objects of the user's own classes have as attributes, each by its place.

    Args:
        parts: model, criterion, task and optimizer, by name. Of a module all that are in it are looked at.
    """
    found: Numbers = {}
    for place, one in _objects(parts):
        # A task is no part of a checkpoint, whatever it defines.
        if not _is_of_user(type(one)) or (place != "runner" and _saves_itself(type(one))):
            continue
        for name, value in list(getattr(one, "__dict__", {}).items()):
            if type(value) in {int, float}:
                found[Attribute(place, name, type(one))] = value
    return found


def warn_of_unsaved(before: Numbers, after: Numbers) -> None:
    """Log which of these numbers have changed in a step, if a method reads them."""
    changed = [
        f"{one.place}.{one.name} (from {_shown(former)} to {_shown(after[one])})"
        for one, former in before.items()
        if one in after and not _is_same(former, after[one]) and _is_read(one)
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
        else:
            yield key, part


def _is_of_user(cls: type) -> bool:
    functions = functions_of(cls)
    return bool(functions) and is_own(functions[0].__code__.co_filename)


def _saves_itself(cls: type) -> bool:
    return any(
        name in vars(base) and not base.__module__.startswith("torch.")
        for base in cls.__mro__
        for name in _SAVES_ITSELF
    )


def _is_same(former: float, now: float) -> bool:
    both_nan = former != former and now != now  # noqa: PLR0124
    return former == now or both_nan


def _is_read(one: Attribute) -> bool:
    """Whether a method reads the attribute, and does not just note something in it, such as the last loss."""
    functions = [function for base in one.cls.__mro__ if _is_of_user(base) for function in functions_of(base)]
    return any(
        found.argval == one.name and found.opname in _READS
        for function in functions
        for found in dis.get_instructions(function)
    )


def _shown(number: float) -> str:
    return f"{number:g}" if abs(number) < _LARGE or isinstance(number, float) else "a large number"
