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

    def set_epoch_seed(self, seed: int) -> None:
        """Let the next iterations follow from `seed`.

        Raises:
            ValueError: `seed` is outside 0..2**63 - 1.
        """
        if not 0 <= seed < SEED_LIMIT:
            raise ValueError(f"seed: {seed}, expected 0 to 2**63 - 1.")
        self._epoch_seed = seed

    def __iter__(self) -> Iterator[SeededIndex]:
        """The epoch's indices."""
        seed = self._epoch_seed
        if not self.shuffle:
            return (SeededIndex(index, seed) for index in range(self.length))
        # The order has a generator of its own: index -1 is no datapoint's.
        generator = torch.Generator().manual_seed(datapoint_seed(seed, -1))
        return (
            SeededIndex(index, seed) for index in torch.randperm(self.length, generator=generator).tolist()
        )

    def __len__(self) -> int:
        """Number of datapoints."""
        return self.length
