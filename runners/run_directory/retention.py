"""Which checkpoints stay: pure functions of the scores and step numbers so far."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pylon.metrics.directions import Direction
from pylon.runners.run_directory.checkpointing import Checkpointing

# An epoch, and how many of its steps are done; inf: all, and its validation is still to come.
Position = tuple[int, float]


@dataclass(frozen=True)
class Retention:
    """Which checkpoints a run keeps; losses and scores of every epoch stay anyway.

    `every_steps` keeps checkpoints, it makes none. In the middle of an epoch, `Checkpointing.every_steps`
    makes them, and must therefore divide it; those of `every_minutes` and of signals come at no chosen
    step. Every epoch ends with a checkpoint. Kept checkpoints are for inspection: a launch resumes from
    the one that is furthest on.

    Args:
        newest: so many of the newest epochs, at least 1.
        best: so many of the best epochs, at least 1; of equally good ones the earliest.
        every_epochs: also each epoch whose number, counted from 1, is a multiple of it; None: none.
        every_steps: also each checkpoint, in the middle of an epoch or at its end, before which the run
            has taken a multiple of so many steps; None: none.
    """

    newest: int = 1
    best: int = 1
    every_epochs: int | None = None
    every_steps: int | None = None

    def __post_init__(self) -> None:
        """Refuse what would delete the checkpoint that a run resumes from, or its result."""
        for name in ("newest", "best", "every_epochs", "every_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value}, expected at least 1")

    def check_against(self, checkpointing: Checkpointing) -> None:
        """Refuse `every_steps` if a checkpoint that it would keep is never made.

        Raises:
            ValueError: `checkpointing.every_steps` is None, or does not divide `every_steps`.
        """
        if self.every_steps is None:
            return
        if checkpointing.every_steps is None:
            raise ValueError(
                f"retention.args.every_steps: {self.every_steps}, expected checkpointing with every_steps "
                "of this number or a divisor of it: without that, no checkpoint is made at these steps"
            )
        if self.every_steps % checkpointing.every_steps:
            raise ValueError(
                f"retention.args.every_steps: {self.every_steps}, expected a multiple of "
                f"checkpointing.args.every_steps, {checkpointing.every_steps}: only they make checkpoints"
            )

    def keeps_step(self, global_step: int) -> bool:
        """Whether `every_steps` keeps a checkpoint after so many steps of the run."""
        return self.every_steps is not None and global_step % self.every_steps == 0


def kept_epochs(
    policy: Retention,
    scores: Sequence[float | None],
    direction: Direction,
    ends: Sequence[int | None] = (),
) -> frozenset[int]:
    """The epochs whose checkpoints stay.

    Args:
        policy: what to keep.
        scores: of every finished epoch, in order; None or NaN if undefined, worse than all others.
        direction: which way a score is better.
        ends: steps of the run at the end of each of these epochs; None if that was not recorded.
    """
    count = len(scores)
    newest = range(max(0, count - policy.newest), count)
    best = sorted(range(count), key=lambda epoch: _rank(scores[epoch], direction))[: policy.best]
    every = policy.every_epochs
    regular = () if every is None else range(every - 1, count, every)
    by_steps = (epoch for epoch, end in enumerate(ends) if end is not None and policy.keeps_step(end))
    return frozenset((*newest, *best, *regular, *by_steps))


def kept_positions(
    policy: Retention, positions: Collection[Position], ends: Sequence[int | None]
) -> frozenset[Position]:
    """Of checkpoints in the middle of epochs, those that stay when a newer checkpoint is on the disk.

    Args:
        policy: what to keep.
        positions: where there is one.
        ends: steps of the run at the end of each finished epoch, in order; None if that was not recorded.
    """
    begins = dict(enumerate([0, *ends]))
    return frozenset(
        (epoch, step)
        for epoch, step in positions
        # What is trained and not validated is soon an epoch's end, which has a checkpoint of its own.
        if math.isfinite(step)
        and (begin := begins.get(epoch)) is not None
        and policy.keeps_step(begin + int(step))
    )


def _rank(score: float | None, direction: Direction) -> tuple[bool, float]:
    """Smaller is better; sorting is stable, so the earlier of equals comes first."""
    if score is None or math.isnan(score):
        return (True, 0.0)
    return (False, -score if direction == "higher" else score)
