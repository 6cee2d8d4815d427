"""Early stopping: when no epoch has been better for too long."""

import math
from typing import Any, Literal

from pylon.metrics.directions import Direction, is_better
from pylon.runners.errors import TrainingError


class EarlyStopping:
    """Ends a run after `patience` epochs in a row without a better score.

    Its state is part of every checkpoint, and it judges once per epoch, on the training thread: the
    epoch that a run stops after follows from the scores alone, however often the run was interrupted.

    Args:
        patience: so many epochs in a row without improvement end the run, at least 1.
        min_delta: a score that is better by no more than this is no improvement, 0 or more.
        undefined_score: what a score that is undefined (None or NaN) means: 'worst', no improvement
            over anything; 'error', the run fails.
    """

    def __init__(
        self, patience: int, min_delta: float = 0.0, undefined_score: Literal["worst", "error"] = "worst"
    ) -> None:
        if patience < 1:
            raise ValueError(f"patience: {patience}, expected at least 1")
        if not (math.isfinite(min_delta) and min_delta >= 0):
            raise ValueError(f"min_delta: {min_delta}, expected a finite number of 0 or more")
        self.patience = patience
        self.min_delta = min_delta
        self.undefined_score = undefined_score
        self._best: float | None = None
        self._epochs_without = 0

    @property
    def stopped(self) -> bool:
        """Whether the run is to end."""
        return self._epochs_without >= self.patience

    def judge(self, epoch: int, score: float | None, direction: Direction) -> None:
        """Take in the score of a finished epoch.

        Args:
            epoch: its index, for the error.
            score: its validation score, None or NaN if undefined.
            direction: which way the score is better.

        Raises:
            TrainingError: the score is undefined, and that was configured to be an error.
        """
        undefined = score is None or math.isnan(score)
        if undefined and self.undefined_score == "error":
            raise TrainingError(
                f"epoch {epoch}: the validation score is undefined, and early_stopping.args.undefined_score "
                "is 'error'. Look at the epoch's predictions, or let it count as 'worst'."
            )
        if is_better(direction, score, self._bar(direction)):
            self._best, self._epochs_without = None if score is None else float(score), 0
        else:
            self._epochs_without += 1

    def state_dict(self) -> dict[str, Any]:
        """What the next decisions depend on."""
        return {"best": self._best, "epochs_without": self._epochs_without}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self._best, self._epochs_without = state_dict["best"], state_dict["epochs_without"]

    def _bar(self, direction: Direction) -> float | None:
        """What a score must be better than."""
        if self._best is None:
            return None
        return self._best + (self.min_delta if direction == "higher" else -self.min_delta)
