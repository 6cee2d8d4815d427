"""Seeds of single datapoints."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

SEED_LIMIT = 2**63
# Enough that a seed takes no longer than the hash itself, few enough that an epoch begins at once.
_AHEAD = 256
# Of the datapoint that this thread reads: a dataset that another one reads from follows it.
seed_being_read: ContextVar[int | None] = ContextVar("seed_being_read", default=None)


@dataclass(frozen=True)
class SeededIndex:
    """What the sampler gives instead of a plain index.

    The seed travels with the index, so that it reaches persistent workers, which hold a copy of
    the dataset from before the epoch.

    Attributes:
        index: position in the dataset.
        seed: of the epoch.
        of_datapoint: the datapoint's own, which follows from both; None: it has not been computed.
        epoch: the number of the epoch, for a dataset that asks for it; None: it is not known.
    """

    index: int
    seed: int
    of_datapoint: int | None = None
    epoch: int | None = None

    @property
    def datapoint_seed(self) -> int:
        """See the function of this name."""
        return datapoint_seed(self.seed, self.index) if self.of_datapoint is None else self.of_datapoint

    def computed(self) -> "SeededIndex":
        """The same with the datapoint's seed.

        For a whole batch this takes half as long as before each load, which leaves nothing of it in the
        processor's caches.
        """
        if self.of_datapoint is not None:
            return self
        return SeededIndex(self.index, self.seed, self.datapoint_seed, self.epoch)


def computed_ahead(indices: Iterable[int], seed: int, epoch: int | None) -> Iterator[SeededIndex]:
    """Indices with their datapoints' seeds, computed for many at a time.

    Between two training steps, a seed takes ten times as long: the steps leave nothing of the hash function
    in the processor's caches.

    Args:
        indices: of the epoch.
        seed: of the epoch.
        epoch: its number.
    """
    left = iter(indices)
    while some := list(itertools.islice(left, _AHEAD)):
        yield from [SeededIndex(index, seed, datapoint_seed(seed, index), epoch) for index in some]


def datapoint_seed(seed: int, index: int) -> int:
    """The seed of one datapoint in one epoch, 0 <= seed < 2**63.

    Neighbouring epochs and indices give unrelated generators, the same on every machine and in
    every process (Python's own `hash` of a text is not).

    Source: SHA-256 (FIPS 180-4) of both numbers, its first 63 bits.
    """
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
