"""Generators that a dataset holds itself, such as `self.rng = numpy.random.default_rng(0)`."""

import random
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch

from pylon.data.global_generators import GlobalGenerators
from pylon.data.seeding import SEED_LIMIT

_DEPTH = 6
# A long list is one of datapoints.
_LONGEST = 200
# What holds no generator of a dataset.
_WITHOUT = type | ModuleType | torch.Tensor | np.ndarray | str | bytes | int | float | GlobalGenerators


class OwnGenerators:
    """The generators of one dataset, found when the first datapoint is read."""

    def __init__(self) -> None:
        self._found: list[Any] | None = None

    def seed(self, owner: object, seed: int) -> None:
        """Let each generator in `owner` begin at a place that follows from `seed` alone."""
        if self._found is None:
            self._found = generators_in(owner)
        for number, generator in enumerate(self._found):
            _seed(generator, (seed + number) % SEED_LIMIT)


def generators_in(owner: object) -> list[Any]:
    """The generators of Python, NumPy and torch that are reached by the attributes of `owner`."""
    found: dict[int, Any] = {}
    _collect(owner, _DEPTH, set(), found)
    return list(found.values())


def _seed(generator: Any, seed: int) -> None:  # noqa: ANN401 - of one of four kinds
    if isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    elif isinstance(generator, random.Random):
        generator.seed(seed)
    elif isinstance(generator, np.random.RandomState):
        generator.seed(seed % 2**32)
    else:
        generator.bit_generator.state = type(generator.bit_generator)(seed).state


def _collect(value: object, depth: int, seen: set[int], found: dict[int, Any]) -> None:
    if id(value) in seen or depth == 0:
        return
    seen.add(id(value))
    if isinstance(value, random.Random | np.random.RandomState | np.random.Generator | torch.Generator):
        found[id(value)] = value
        return
    for element in _inside(value):
        _collect(element, depth - 1, seen, found)


def _inside(value: object) -> list[Any]:
    if isinstance(value, _WITHOUT):
        return []
    if isinstance(value, Mapping):
        return list(value.values()) if len(value) <= _LONGEST else []
    if isinstance(value, list | tuple):
        return list(value) if len(value) <= _LONGEST else []
    return list(getattr(value, "__dict__", {}).values())
