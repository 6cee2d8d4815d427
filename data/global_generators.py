"""The global generators of Python, NumPy and torch while datapoints are loaded."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import get_worker_info

from pylon.data.numpy_state import NumpyState

Loaded = TypeVar("Loaded")

_COMPARED_BITS = 64


class GlobalGenerators:
    """The generators that every process has one of (torch's: that of the CPU), for one dataset.

    Our own transforms take an explicit generator. This is for a user's dataset that draws from the
    global ones: it gives the same datapoints in any worker, and in the training process, whose
    generators are left as they were found.

    To seed Python's takes longer than all else. So it is seeded only for a dataset that draws from it: the
    first datapoint for which one does is loaded a second time. The others always are: a dataset may read a
    seed from them without a draw, as by torch.initial_seed().

    Args:
        once: load no datapoint twice, and seed Python's generator for each.
    """

    def __init__(self, *, once: bool = False) -> None:
        self._in_batch = False
        self._python_is_drawn = once
        # In the state of Python's global generator until that one is drawn from.
        self._twin = random.Random(0)
        self._numpy = NumpyState()
        self._last_seed: int | None = None

    def load(self, seed: int, load: Callable[[], Loaded]) -> Loaded:
        """What `load` gives for one datapoint, with the generators seeded for it.

        Args:
            seed: of the datapoint.
            load: may be called twice, but for `once`.
        """
        if not self._in_batch:
            with self._kept():
                return self._load(seed, load)
        # What `load` loads besides this datapoint is not of the batch.
        self._in_batch = False
        try:
            return self._load(seed, load)
        finally:
            self._in_batch = True
            self._last_seed = seed

    @contextlib.contextmanager
    def batch(self, dataset: object) -> Iterator[None]:
        """Restore them at the end of the block alone, not after each datapoint that is loaded in it.

        In a loader worker of `dataset` nothing uses them but its collate function, which finds them as the
        last datapoint leaves them.
        """
        worker = get_worker_info()
        in_worker = worker is not None and worker.dataset is dataset
        with self._left_to_collate() if in_worker else self._kept():
            former, self._in_batch = self._in_batch, True
            try:
                yield
            finally:
                self._in_batch = former

    @contextlib.contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Seed them inside the block."""
        with self._kept():
            random.seed(seed)
            _seed_others(seed)
            yield

    def _load(self, seed: int, load: Callable[[], Loaded]) -> Loaded:
        is_seeded = self._python_is_drawn
        if is_seeded:
            random.seed(seed)
        _seed_others(seed)
        try:
            loaded = load()
        except (Exception, SystemExit):
            if is_seeded or not self._is_drawn_now():
                raise
        else:
            if is_seeded or not self._is_drawn_now():
                return loaded
        self._python_is_drawn = True
        return self._load(seed, load)

    def _is_drawn_now(self) -> bool:
        """Whether anybody has drawn from Python's generator: else it and its twin draw the same here."""
        return random.getrandbits(_COMPARED_BITS) != self._twin.getrandbits(_COMPARED_BITS)

    def _compare_from(self, state: tuple[Any, ...]) -> None:
        """Let the twin begin at the `state` of Python's generator."""
        if self._python_is_drawn:
            return
        version, internal, waiting = state
        if waiting is not None:
            # A normal number that waits to be given out could be taken without being seen.
            random.setstate((version, internal, None))
        self._twin.setstate((version, internal, None))

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        python, numbers, of_torch = random.getstate(), self._numpy.get(), torch.get_rng_state()
        self._compare_from(python)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numbers)
            torch.set_rng_state(of_torch)

    @contextlib.contextmanager
    def _left_to_collate(self) -> Iterator[None]:
        self._last_seed = None
        self._compare_from(random.getstate())
        yield
        if self._last_seed is not None and not self._python_is_drawn:
            random.seed(self._last_seed)


def _seed_others(seed: int) -> None:
    np.random.seed(seed % 2**32)
    # torch.manual_seed would seed CUDA's generators too, and those belong to the training step.
    torch.default_generator.manual_seed(seed)
