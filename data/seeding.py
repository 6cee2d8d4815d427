"""Seeds of single datapoints, and the global generators while one is loaded."""

import contextlib
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

SEED_LIMIT = 2**63


@dataclass(frozen=True)
class SeededIndex:
    """What the sampler gives instead of a plain index.

    The seed travels with the index, so that it reaches persistent workers, which hold a copy of
    the dataset from before the epoch.

    Attributes:
        index: position in the dataset.
        seed: of the epoch.
    """

    index: int
    seed: int


def datapoint_seed(seed: int, index: int) -> int:
    """The seed of one datapoint in one epoch, 0 <= seed < 2**63.

    Neighbouring epochs and indices give unrelated generators, the same on every machine and in
    every process (Python's own `hash` of a text is not).

    Source: SHA-256 (FIPS 180-4) of both numbers, its first 63 bits.
    """
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class GlobalGenerators:
    """The global generators of Python, NumPy and torch (CPU) while the datapoints of one dataset are loaded.

    Our own transforms take an explicit generator. This is for a user's dataset that draws from the
    global ones: it gives the same datapoints in any worker, and in the training process, whose
    generators are left as they were found.
    """

    def __init__(self) -> None:
        self._left_to_batch = False

    @contextlib.contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Seed them inside the block, for one datapoint."""
        left_to_batch, self._left_to_batch = self._left_to_batch, False
        try:
            with contextlib.nullcontext() if left_to_batch else _restored():
                random.seed(seed)
                np.random.seed(seed % 2**32)
                # torch.manual_seed would seed CUDA's generators too, and those belong to the training step.
                torch.default_generator.manual_seed(seed)
                yield
        finally:
            self._left_to_batch = left_to_batch

    @contextlib.contextmanager
    def restored_once(self) -> Iterator[None]:
        """Restore them at the end of the block alone, not after each datapoint that is loaded in it.

        NumPy takes 35 us to hand out its state, far more than to be seeded.
        """
        with _restored():
            self._left_to_batch = True
            try:
                yield
            finally:
                self._left_to_batch = False


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    """Leave the global generators as they are found; in a loader worker nothing else uses them."""
    if torch.utils.data.get_worker_info() is not None:
        yield
        return
    numbers: Any = np.random.get_state()
    former = random.getstate(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(former[0])
        name, keys, *rest = numbers
        # NumPy reads the state number by number: from an array that takes 45 us, from a list 2.
        np.random.set_state((name, keys.tolist(), *rest))
        torch.set_rng_state(former[1])
