"""The global generators of Python, NumPy and torch while datapoints are loaded."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils.data import get_worker_info

from pylon.data.numpy_state import NumpyState
from pylon.data.python_state import PythonState
from pylon.data.seeding import seed_being_read

Loaded = TypeVar("Loaded")


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

    Attributes:
        keeps_for_collate: in the training process too, let a collate function that `collated` calls find
            them as a loader worker's does: as the last datapoint leaves them.
    """

    def __init__(self, *, once: bool = False) -> None:
        self._python = PythonState()
        self._numpy = NumpyState()
        self._seeds_python = once or not self._python.can_be_looked_at
        # Python's state at the beginning of the batch that is loaded; None outside one.
        self._of_batch: Any = None
        self._last_seed: int | None = None
        self._for_collate: _Found | None = None
        self.keeps_for_collate = False

    def load(self, seed: int, load: Callable[[], Loaded]) -> Loaded:
        """What `load` gives for one datapoint, with the generators seeded for it.

        Args:
            seed: of the datapoint.
            load: may be called twice, but for `once`.
        """
        outer = seed_being_read.set(seed)
        try:
            if self._of_batch is not None:
                return self._load_in_batch(seed, load)
            with self._left_as_found() as found:
                return self._load(seed, load, found.python)
        finally:
            seed_being_read.reset(outer)

    def _load_in_batch(self, seed: int, load: Callable[[], Loaded]) -> Loaded:
        # What `load` loads besides this datapoint is not of the batch.
        python, self._of_batch = self._of_batch, None
        try:
            return self._load(seed, load, python)
        finally:
            self._of_batch = python
            self._last_seed = seed

    def batch(self, dataset: object, read: Callable[[], Loaded]) -> Loaded:
        """What `read` gives; they are put back at its end alone, not after each datapoint that it loads.

        In a loader worker of `dataset` nothing uses them but its collate function, which finds them as the
        last datapoint leaves them.
        """
        worker = get_worker_info()
        if worker is not None and worker.dataset is dataset:
            return self._left_to_collate(read)
        # As `_left_as_found`, which would take microseconds of each step.
        found = self.get()
        try:
            if not self.keeps_for_collate:
                return self._within(found.python, read)
            batch = self._left_to_collate(read)
            self._for_collate = self.get()
            return batch
        finally:
            self.put_back(found)

    def collated(self, collate: Callable[[], Loaded]) -> Loaded:
        """What `collate` gives for the batch that was read last; see `keeps_for_collate`."""
        left, self._for_collate = self._for_collate, None
        if left is None:
            return collate()
        with self._left_as_found():
            self.put_back(left)
            return collate()

    @contextlib.contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Seed them inside the block."""
        with self._left_as_found():
            seed_globals(seed)
            yield

    def _load(self, seed: int, load: Callable[[], Loaded], python: Any) -> Loaded:  # noqa: ANN401 - a state
        is_seeded = self._seeds_python
        if is_seeded:
            random.seed(seed)
        _seed_others(seed)
        try:
            loaded = load()
        except (Exception, SystemExit):
            if is_seeded or self._python.is_still(python):
                raise
        else:
            if is_seeded or self._python.is_still(python):
                return loaded
        self._seeds_python = True
        return self._load(seed, load, python)

    def _within(self, python: Any, read: Callable[[], Loaded]) -> Loaded:  # noqa: ANN401 - a state
        former, self._of_batch = self._of_batch, python
        try:
            return read()
        finally:
            self._of_batch = former

    def _left_to_collate(self, read: Callable[[], Loaded]) -> Loaded:
        self._last_seed = None
        batch = self._within(self._python.get(), read)
        if self._last_seed is not None and not self._seeds_python:
            random.seed(self._last_seed)
        return batch

    @contextlib.contextmanager
    def _left_as_found(self) -> Iterator["_Found"]:
        found = self.get()
        try:
            yield found
        finally:
            self.put_back(found)

    def get(self) -> "_Found":
        """Their states of now, for `put_back`."""
        return _Found(self._python.get(), self._numpy.get(), torch.get_rng_state())

    def put_back(self, found: "_Found") -> None:
        """Let these states, which `get` gave, be those of now."""
        self._python.put_back(found.python)
        self._numpy.put_back(found.numpy)
        torch.set_rng_state(found.torch)


class _Found(NamedTuple):
    """The states before anything is loaded: Python's, NumPy's and torch's."""

    python: Any
    numpy: Any
    torch: torch.Tensor


def seed_globals(seed: int) -> None:
    """Seed all of them for a datapoint."""
    random.seed(seed)
    _seed_others(seed)


def _seed_others(seed: int) -> None:
    np.random.seed(seed % 2**32)
    # torch.manual_seed would seed CUDA's generators too, and those belong to the training step.
    torch.default_generator.manual_seed(seed)
