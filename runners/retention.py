"""Which epochs' checkpoints stay: a pure function of the scores so far."""

from collections.abc import Sequence
from dataclasses import dataclass

from metrics.directions import Direction


@dataclass(frozen=True)
class Retention:
    """Which epochs' checkpoints a run keeps; losses and scores of every epoch stay anyway.

    Args:
        newest: so many of the newest epochs, at least 1.
        best: so many of the best epochs, at least 1; of equally good ones the earliest.
        every_epochs: also each epoch whose number, counted from 1, is a multiple of it; None: none.
    """

    newest: int = 1
    best: int = 1
    every_epochs: int | None = None

    def __post_init__(self) -> None:
        """Refuse what would delete the checkpoint that a run goes on from, or its result."""
        for name in ("newest", "best", "every_epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value}, expected at least 1")


def kept_epochs(policy: Retention, scores: Sequence[float | None], direction: Direction) -> frozenset[int]:
    """The epochs whose checkpoints stay.

    Args:
        policy: what to keep.
        scores: of every finished epoch, in order; None or NaN where undefined, worse than all others.
        direction: which way a score is better.
    """
    count = len(scores)
    newest = range(max(0, count - policy.newest), count)
    best = sorted(range(count), key=lambda epoch: _rank(scores[epoch], direction))[: policy.best]
    every = policy.every_epochs
    regular = () if every is None else range(every - 1, count, every)
    return frozenset((*newest, *best, *regular))


def _rank(score: float | None, direction: Direction) -> tuple[bool, float]:
    """Smaller is better; sorting is stable, so the earlier of equals comes first."""
    undefined = score is None or score != score  # noqa: PLR0124 - NaN alone differs from itself
    if undefined:
        return (True, 0.0)
    return (False, -score if direction == "higher" else score)
