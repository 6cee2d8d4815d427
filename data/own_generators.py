"""Generators that a dataset holds itself, such as `self.rng = numpy.random.default_rng(0)`."""

import os
import random
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch

from pylon.data.global_generators import GlobalGenerators
from pylon.data.seeding import SEED_LIMIT

_DEPTH = 6
# A long list is one of datapoints.
_LONGEST = 200
Generator = random.Random | np.random.RandomState | np.random.Generator | torch.Generator
Loaded = TypeVar("Loaded")

# Attributes of torch's own: weights, children, hooks.
_OF_A_MODULE = frozenset(torch.nn.Module().__dict__)
# What holds no generator of a dataset.
_WITHOUT = type | ModuleType | torch.Tensor | np.ndarray | str | bytes | int | float | GlobalGenerators


class OwnGenerators:
    """The generators of one dataset or sampler, found when it is first read.

    Some make one then, so that each loader worker has its own. What a process has read first is read again if
    that has happened, with it seeded.
    """

    def __init__(self) -> None:
        self._found: list[Any] | None = None
        self._read_by_pid = 0

    def load(self, owner: object, seed: int, load: Callable[[], Loaded]) -> Loaded:
        """What `load` gives, with each generator in `owner` seeded. It may be called twice.

        Args:
            owner: the dataset or sampler.
            seed: of what is read.
            load: reads it.
        """
        self.seed(owner, seed)
        if self._read_by_pid == os.getpid():
            return load()
        self._read_by_pid = os.getpid()
        of_process = GlobalGenerators()
        states = of_process.get()
        loaded = load()
        known = {id(generator) for generator in self._found or ()}
        self._found = generators_in(owner)
        if known.issuperset(map(id, self._found)):
            return loaded
        of_process.put_back(states)
        self.seed(owner, seed)
        return load()

    def seed(self, owner: object, seed: int) -> None:
        """Let each generator in `owner` begin at a place that follows from `seed` alone."""
        if self._found is None:
            self._found = generators_in(owner)
        for number, generator in enumerate(self._found):
            _seed(generator, (seed + number) % SEED_LIMIT)


def generators_in(owner: object) -> list[Any]:
    """The generators of Python, NumPy and torch that are reached by the attributes of `owner`."""
    return list(named_generators(owner, "").values())


def named_generators(owner: object, place: str) -> dict[str, Any]:
    """The same, each by its place, such as 'criterion.noise.rng'.

    Args:
        owner: holds them.
        place: of the owner.
    """
    found: dict[str, Any] = {}
    _collect(owner, place, _DEPTH, set(), found)
    return found


def _seed(generator: Any, seed: int) -> None:  # noqa: ANN401 - of one of four kinds
    if isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    elif isinstance(generator, random.Random):
        generator.seed(seed)
    elif isinstance(generator, np.random.RandomState):
        _seed_legacy(generator, seed)
    else:
        generator.bit_generator.state = type(generator.bit_generator)(seed).state


def _seed_legacy(generator: np.random.RandomState, seed: int) -> None:
    try:
        generator.seed(seed % 2**32)
    except TypeError:  # it draws from another than the Mersenne Twister
        bits: Any = generator._bit_generator
        bits.state = type(bits)(seed).state


def _collect(value: object, place: str, depth: int, seen: set[int], found: dict[str, Any]) -> None:
    if id(value) in seen or depth == 0:
        return
    seen.add(id(value))
    if isinstance(value, Generator):
        found[place] = value
        return
    # However deep it lies, each module of a model or of transforms is looked at.
    for name, module in value.named_children() if isinstance(value, torch.nn.Module) else ():
        _collect(module, f"{place}.{name}", depth, seen, found)
    for name, element in _inside(value):
        _collect(element, place + name, depth - 1, seen, found)


def _inside(value: object) -> Iterable[tuple[str, Any]]:
    if isinstance(value, _WITHOUT):
        return []
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", element) for key, element in value.items()] if len(value) <= _LONGEST else []
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{number}]", one) for number, one in enumerate(value)] if len(value) <= _LONGEST else []
    slots = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())]
    named = {name: getattr(value, name, None) for name in slots if name not in {"__dict__", "__weakref__"}}
    named |= getattr(value, "__dict__", {})
    of_torch = _OF_A_MODULE if isinstance(value, torch.nn.Module) else ()
    return [(f".{name}", element) for name, element in named.items() if name not in of_torch]
