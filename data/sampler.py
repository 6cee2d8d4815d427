"""The order of an epoch, each index with the epoch's seed."""

import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

from pylon.data.epoch_number import EpochNumber
from pylon.data.errors import DatasetContractError
from pylon.data.global_generators import GlobalGenerators
from pylon.data.own_generators import OwnGenerators
from pylon.data.seeding import SEED_LIMIT, SeededIndex, computed_ahead, datapoint_seed


class SeededOrder:
    """What a sampler of torch's kind gives for an epoch, drawn at once, and from the epoch's seed alone.

    Args:
        sampler: gives indices, or lists of them; has a length.
    """

    def __init__(self, sampler: Any) -> None:  # noqa: ANN401 - any sampler
        self.sampler = sampler
        self._generators = GlobalGenerators()
        self._own = OwnGenerators()
        self._number = EpochNumber()

    def __len__(self) -> int:
        """How many it gives."""
        return len(self.sampler)

    def draw(self, seed: int, epoch: int | None) -> list[Any]:
        """The order of the epoch of this seed, and of this number if it is known.

        Raises:
            DatasetContractError: it has another length than the sampler says.
        """
        # The order has generators of its own: index -1 is no datapoint's.
        own = datapoint_seed(seed, -1)
        self._number.give(self.sampler, epoch)
        with self._generators.seeded(own):
            order = self._own.load(self.sampler, own, lambda: list(self.sampler))
        if len(order) != len(self):
            raise DatasetContractError(
                f"sampler {type(self.sampler).__name__} gives {len(order)} of an epoch, but its length is "
                f"{len(self)}: the run's steps are counted by it. Let __len__ be what __iter__ gives."
            )
        return order


class EpochSampler(Sampler[SeededIndex]):
    """Every index of the dataset once, or those of a sampler, with the epoch's seed.

    Args:
        count: number of datapoints.
        shuffle: in an order drawn from the seed, else ascending.
        order: gives the indices in place of both.
        computes_seeds: give each index its datapoint's seed too; else who reads the datapoint computes it.

    Attributes:
        epoch: the number of the epoch that is iterated next, None if it is not known.
    """

    def __init__(
        self, count: int, *, shuffle: bool, order: SeededOrder | None = None, computes_seeds: bool = False
    ) -> None:
        self.length = count if order is None else len(order)
        self.shuffle = shuffle
        self._computes_seeds = computes_seeds
        self._count = count
        self._order = order
        self._epoch_seed = 0
        self.epoch: int | None = None
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
        self._epoch_seed, self._spans = checked_seed(seed), spans
        outside = [span for span in spans or () if span and not 0 <= min(span) <= max(span) < self.length]
        if outside:
            raise ValueError(f"spans: {outside[0]}, expected positions from 0 to {self.length - 1}.")

    def __iter__(self) -> Iterator[SeededIndex]:
        """The epoch's indices at the given positions."""
        seed, epoch = self._epoch_seed, self.epoch
        positions: Iterable[int] = itertools.chain.from_iterable(
            [range(self.length)] if self._spans is None else self._spans
        )
        indices = positions if (order := self._drawn(seed)) is None else map(order.__getitem__, positions)
        if self._computes_seeds:
            return computed_ahead(indices, seed, epoch)
        return (SeededIndex(index, seed, epoch=epoch) for index in indices)

    def _drawn(self, seed: int) -> list[int] | None:
        """The index at each position of the epoch; None: the position itself."""
        if self._order is not None:
            return checked_indices(self._order.draw(seed, self.epoch), self._count, self._order.sampler)
        if not self.shuffle:
            return None
        # The order has a generator of its own: index -1 is no datapoint's.
        generator = torch.Generator().manual_seed(datapoint_seed(seed, -1))
        order: list[int] = torch.randperm(self.length, generator=generator).tolist()
        return order

    def __len__(self) -> int:
        """Number of datapoints of a whole epoch."""
        return self.length


class EpochBatchSampler(Sampler[list[SeededIndex]]):
    """The batches of a batch sampler, with the epoch's seed.

    Args:
        count: number of datapoints.
        order: gives the batches.

    Attributes:
        epoch: the number of the epoch that is iterated next, None if it is not known.
    """

    def __init__(self, count: int, order: SeededOrder) -> None:
        self._count = count
        self._order = order
        self._epoch_seed = 0
        self.epoch: int | None = None
        self._wanted: Sequence[int] | None = None

    def set_epoch_seed(self, seed: int, batches: Sequence[int] | None = None) -> None:
        """Let the next iterations follow from `seed`.

        Args:
            seed: of the epoch.
            batches: the numbers of those that are wanted; None: all.

        Raises:
            ValueError: `seed` is outside 0..2**63 - 1.
        """
        self._epoch_seed, self._wanted = checked_seed(seed), batches

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        """The epoch's batches with the given numbers."""
        seed, epoch = self._epoch_seed, self.epoch
        drawn = self._order.draw(seed, epoch)
        for number in range(len(drawn)) if self._wanted is None else self._wanted:
            batch = checked_indices(drawn[number], self._count, self._order.sampler)
            yield [SeededIndex(index, seed, epoch=epoch) for index in batch]

    def __len__(self) -> int:
        """Number of batches of a whole epoch."""
        return len(self._order)


def checked_seed(seed: int) -> int:
    """The seed. Raises ValueError if it is outside 0..2**63 - 1."""
    if not 0 <= seed < SEED_LIMIT:
        raise ValueError(f"seed: {seed}, expected 0 to 2**63 - 1.")
    return seed


def checked_indices(indices: Iterable[Any], count: int, sampler: object) -> list[int]:
    """What a sampler gave, as whole numbers from 0 to `count` - 1.

    Raises:
        DatasetContractError: one is none.
    """
    try:
        found = [operator.index(index) for index in indices]
    except TypeError as error:
        raise DatasetContractError(
            f"{type(sampler).__name__} gives no whole numbers ({error}). A sampler gives single indices, a "
            "batch_sampler lists of them."
        ) from error
    outside = [index for index in found if not 0 <= index < count]
    if outside or not found:
        raise DatasetContractError(
            f"{type(sampler).__name__} gives {outside[:10] or 'no index'}, expected positions in the "
            f"dataset, from 0 to {count - 1}."
        )
    return found
