"""Generators that a dataset holds itself, such as `self.rng = numpy.random.default_rng(0)`."""

import os
import random
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from pylon.data.global_generators import GlobalGenerators
from pylon.data.held_generators import named_generators
from pylon.data.seeding import SEED_LIMIT

Loaded = TypeVar("Loaded")


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
    """The generators that a dataset or a sampler holds."""
    return list(named_generators(owner, "", without=(GlobalGenerators,)).values())


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
