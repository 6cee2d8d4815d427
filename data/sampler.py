"""The order of an epoch, each index with the epoch's seed."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from data.seeding import SEED_LIMIT, SeededIndex, datapoint_seed


class EpochSampler(Sampler[SeededIndex]):
    """Every index of the dataset once, with the epoch's seed.

    Args:
        length: number of datapoints.
        shuffle: in an order drawn from the seed, else ascending.
    """

    def __init__(self, length: int, *, shuffle: bool) -> None:
        self.length = length
        self.shuffle = shuffle
        self._epoch_seed = 0
        self._first = 0

    def set_epoch_seed(self, seed: int, first: int = 0) -> None:
        """Let the next iterations follow from `seed`.

        Args:
            seed: of the epoch.
            first: how many indices at the start of the epoch's order are left out, because a run that
                goes on in the middle of an epoch has seen them. The others come as without it.

        Raises:
            ValueError: `seed` is outside 0..2**63 - 1, or `first` is negative.
        """
        if not 0 <= seed < SEED_LIMIT:
            raise ValueError(f"seed: {seed}, expected 0 to 2**63 - 1.")
        if first < 0:
            raise ValueError(f"first: {first}, expected 0 or more.")
        self._epoch_seed, self._first = seed, first

    def __iter__(self) -> Iterator[SeededIndex]:
        """The epoch's indices, from the first one asked for."""
        seed, first = self._epoch_seed, self._first
        if not self.shuffle:
            return (SeededIndex(index, seed) for index in range(first, self.length))
        # The order has a generator of its own: index -1 is no datapoint's.
        generator = torch.Generator().manual_seed(datapoint_seed(seed, -1))
        order = torch.randperm(self.length, generator=generator)[first:].tolist()
        return (SeededIndex(index, seed) for index in order)

    def __len__(self) -> int:
        """Number of datapoints of a whole epoch."""
        return self.length
