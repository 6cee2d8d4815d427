"""Generators that a dataset holds itself, such as `self.rng = numpy.random.default_rng(0)`."""

import os
import random
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from pylon.data.global_generators import GlobalGenerators, seed_globals
from pylon.data.held_generators import named_generators
from pylon.data.seeding import SEED_LIMIT

Loaded = TypeVar("Loaded")


class OwnGenerators:
    """The generators of one dataset or sampler, found when it is first read.

    Some make one then, or later, so that each loader worker has its own. What was read while one was made is
    read again, with it seeded.
    """

    def __init__(self) -> None:
        self._found: list[Any] | None = None
        self._read_by_pid = 0
        self._attributes = (0, 0)

    def load(self, owner: object, seed: int, load: Callable[[], Loaded]) -> Loaded:
        """What `load` gives, with each generator in `owner` seeded. It may be called twice.

        Args:
            owner: the dataset or sampler.
            seed: of what is read, with which the global generators are seeded.
            load: reads it.
        """
        self.seed(owner, seed)
        if self._read_by_pid != os.getpid():
            return self._load_first(owner, seed, load)
        loaded = load()
        if self._attributes == (attributes := _attributes(owner)):
            return loaded
        self._attributes = attributes
        if not self._has_new(owner):
            return loaded
        # To note their states before each read, as before the first one, would take longer than most reads.
        seed_globals(seed)
        self.seed(owner, seed)
        return load()

    def _load_first(self, owner: object, seed: int, load: Callable[[], Loaded]) -> Loaded:
        of_process = GlobalGenerators()
        states = of_process.get()
        loaded = load()
        self._read_by_pid, self._attributes = os.getpid(), _attributes(owner)
        if not self._has_new(owner):
            return loaded
        of_process.put_back(states)
        self.seed(owner, seed)
        return load()

    def _has_new(self, owner: object) -> bool:
        known = {id(generator) for generator in self._found or ()}
        self._found = generators_in(owner)
        return not known.issuperset(map(id, self._found))

    def seed(self, owner: object, seed: int) -> None:
        """Let each generator in `owner` begin at a place that follows from `seed` alone."""
        if self._found is None:
            self._found = generators_in(owner)
        for number, generator in enumerate(self._found):
            _seed(generator, (seed + number) % SEED_LIMIT)


def generators_in(owner: object) -> list[Any]:
    """The generators that a dataset or a sampler holds."""
    return list(named_generators({"": owner}, without=(GlobalGenerators,)).values())


def _attributes(owner: object) -> tuple[int, int]:
    """How many there are, and how many of them are None: what changes when one is made for later use."""
    values = getattr(owner, "__dict__", {}).values()
    return len(values), sum(value is None for value in values)


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
