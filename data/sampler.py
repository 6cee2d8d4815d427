"""The order of an epoch, each index with the epoch's seed."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from pylon.data.seeding import SEED_LIMIT, SeededIndex, datapoint_seed


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
        self._spans: Sequence[range] | None = None

    def set_epoch_seed(self, seed: int, spans: Sequence[range] | None = None) -> None:
        """Let the next iterations follow from `seed`.

        Args:
            seed: of the epoch.
            spans: the positions in the epoch's order that are wanted, each 0 <= position < length; None:
                all. What comes at a position is the same, whichever others are wanted.

        Raises:
            ValueError: `seed` is outside 0..2**63 - 1, or a position outside the epoch.
        """
        if not 0 <= seed < SEED_LIMIT:
            raise ValueError(f"seed: {seed}, expected 0 to 2**63 - 1.")
        outside = [span for span in spans or () if span and not 0 <= min(span) <= max(span) < self.length]
        if outside:
            raise ValueError(f"spans: {outside[0]}, expected positions from 0 to {self.length - 1}.")
        self._epoch_seed, self._spans = seed, spans

    def __iter__(self) -> Iterator[SeededIndex]:
        """The epoch's indices at the given positions."""
        seed = self._epoch_seed
        positions = itertools.chain.from_iterable(
            [range(self.length)] if self._spans is None else self._spans
        )
        if not self.shuffle:
            return (SeededIndex(position, seed) for position in positions)
        # The order has a generator of its own: index -1 is no datapoint's.
        generator = torch.Generator().manual_seed(datapoint_seed(seed, -1))
        order = torch.randperm(self.length, generator=generator).tolist()
        return (SeededIndex(order[position], seed) for position in positions)

    def __len__(self) -> int:
        """Number of datapoints of a whole epoch."""
        return self.length
