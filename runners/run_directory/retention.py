"""Which checkpoints stay: a function of the scores and step numbers so far."""

import math
from bisect import insort
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
        best: so many of the best epochs, at least 1; of equally good ones the earliest, of those without a
            score the newest.
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


class KeptEpochs:
    """Which checkpoints stay, followed epoch by epoch: an epoch costs the same however many there were.

    Args:
        policy: what to keep.
        direction: which way a score is better.
    """

    def __init__(self, policy: Retention, direction: Direction) -> None:
        self._policy = policy
        self._direction = direction
        self._best: list[tuple[tuple[bool, float], int]] = []
        self._ends: list[int | None] = []

    def add(self, score: float | None, end: int | None) -> None:
        """Take in the next finished epoch.

        Args:
            score: its validation score; None or NaN if undefined, worse than all others.
            end: steps of the run at its end; None if that was not recorded.
        """
        epoch = len(self._ends)
        insort(self._best, (_rank(score, self._direction, epoch), epoch))
        del self._best[self._policy.best :]
        self._ends.append(end)

    def for_now(self) -> frozenset[int]:
        """The newest and the best epochs, which stay until others take their place."""
        count = len(self._ends)
        newest = range(max(0, count - self._policy.newest), count)
        return frozenset((*newest, *(epoch for _, epoch in self._best)))

    def for_good(self, epoch: int) -> bool:
        """Whether the checkpoint of a finished epoch stays whatever comes."""
        every, end = self._policy.every_epochs, self._ends[epoch]
        regular = every is not None and (epoch + 1) % every == 0
        return regular or (end is not None and self._policy.keeps_step(end))

    def position_for_good(self, position: Position) -> bool:
        """Whether a checkpoint in the middle of an epoch stays when a newer one is on the disk."""
        epoch, step = position
        # What is trained and not validated is soon an epoch's end, which has a checkpoint of its own.
        if not math.isfinite(step) or epoch > len(self._ends):
            return False
        begin = self._ends[epoch - 1] if epoch else 0
        return begin is not None and self._policy.keeps_step(begin + int(step))


def _rank(score: float | None, direction: Direction, epoch: int) -> tuple[bool, float]:
    """Smaller is better; of equals, the epoch's number decides."""
    if score is None or math.isnan(score):
        return (True, -epoch)
    return (False, -score if direction == "higher" else score)
