"""Which batches each rank takes: pure functions of the epoch's batches and the number of ranks.

    training     step 0: batches 0 1 2 3 (2 ranks, 2 batches each)     rank 0: 0 2     rank 1: 1 3
    evaluation   rank 0: 0 2 4 ...     rank 1: 1 3 5 ...

The batches are those of one process, in its order. So a step on N ranks of A batches each is the step
of one process that accumulates N x A batches, and every datapoint is evaluated once.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingShare:
    """The batches of an epoch that one rank takes, step by step.

    Args:
        batches: of the epoch, at least 1; None: not known, as of a stream.
        accumulate: of each rank in a step, at least 1.
        rank: this one's number, 0 <= rank < ranks.
        ranks: how many there are.
    """

    batches: int | None
    accumulate: int
    rank: int
    ranks: int

    @property
    def steps(self) -> int | None:
        """Steps of the epoch, None if not known; the last one may have fewer batches than the others."""
        return None if self.batches is None else math.ceil(self.batches / (self.accumulate * self.ranks))

    def of_step(self, step: int) -> range:
        """The numbers of this rank's batches in a step, ascending, at least one.

        If an epoch's last step has fewer batches than ranks, those without one use a copy of
        another's, as all have to take part in the step; its `weight` is 0.
        """
        group = self._group(step)
        return group[self.rank :: self.ranks] or group[self.rank % len(group) :][:1]

    def weight(self, step: int) -> float:
        """The share of each of this rank's batches in the step's mean loss, 0..1."""
        group = self._group(step)
        return 1 / len(group) if self.rank < len(group) else 0.0

    def numbers(self, first_step: int) -> list[int]:
        """The numbers of all this rank's batches from a step on, ascending; their number must be known."""
        return [number for step in range(first_step, self.steps or 0) for number in self.of_step(step)]

    def _group(self, step: int) -> range:
        size = self.accumulate * self.ranks
        end = (step + 1) * size
        return range(step * size, end if self.batches is None else min(end, self.batches))


def evaluation_share(batches: int, rank: int, ranks: int) -> range:
    """The numbers of the batches that one rank evaluates: every `ranks`-th, none twice, none left out.

    Args:
        batches: of the whole pass.
        rank: this one's number, 0 <= rank < ranks.
        ranks: how many there are.
    """
    return range(rank, batches, ranks)
