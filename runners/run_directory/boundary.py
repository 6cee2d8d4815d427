"""Between two steps: the only place where a run is saved in the middle of an epoch, or stopped."""

import logging
from collections.abc import Iterator

from pylon.data import LoaderWorkerError
from pylon.runners.distributed import AgreedStop
from pylon.runners.outputs.step_log import StepLog
from pylon.runners.run_directory.checkpoint import Progress, Stateful
from pylon.runners.run_directory.saving import Saver
from pylon.runners.run_directory.snapshots import capture
from pylon.runners.training.evaluation import Batch

logger = logging.getLogger(__name__)


class Boundary:
    """What happens at a step's end.

    Args:
        progress: of the run, which the trainer moves on.
        parts: what a checkpoint holds.
        saver: writes it.
        step_log: knows the losses of the running epoch.
        stop: whether somebody asked the run to stop.
        resumed: the launch goes on from a checkpoint of just this position.
    """

    def __init__(
        self,
        progress: Progress,
        parts: dict[str, Stateful | None],
        saver: Saver,
        step_log: StepLog,
        stop: AgreedStop,
        *,
        resumed: bool,
    ) -> None:
        self._progress = progress
        self._parts = parts
        self._saver = saver
        self._step_log = step_log
        self._stop = stop
        self._saved = self._position() if resumed else None

    def end_step(self) -> None:
        """Look for a failed write and a stop request, and save where it is due.

        Raises:
            RunStopped: a stop was asked for; the state of this very step is saved.
            Exception: what went wrong in writing since the last step.
        """
        self._saver.end_step()
        due = self._stop.look(save=self._saver.due(self._progress.global_step))
        self.end_if_agreed()
        if due:
            self.save()

    def end_if_agreed(self) -> None:
        """Save and stop, if that is agreed on. Raises RunStopped then."""
        if self._stop.agreed:
            self.save_for_good()
            self._stop.raise_if_agreed()

    def guarded(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches; where a loader worker's end is theirs, the steps before it are saved."""
        try:
            yield from batches
        except LoaderWorkerError:
            self.save_for_good()
            raise

    def save_for_good(self) -> None:
        """Save as this launch's last act, or say that the disk takes nothing.

        Of several ranks, one that ends alone cannot: the others' generators are part of the state.
        """
        if not (self._stop.agreed or self._stop.is_alone):
            return
        try:
            self.save_now()
        except OSError as error:
            logger.error("this launch's newest steps are lost, the disk takes nothing: %s", error)

    def save_now(self) -> None:
        """Save, and return when it is on the disk. Raises OSError where that refuses."""
        self.save()
        self._saver.finish()

    def save(self) -> None:
        """Save the state in the middle of an epoch, unless that is done or the epoch has no step yet."""
        position = self._position()
        if self._progress.step == 0 or position == self._saved:
            return  # such as a launch that is stopped before its first step
        self._progress.losses = self._step_log.so_far()
        self._saver.save(capture(self._progress, self._parts))
        self._saved = position

    def _position(self) -> tuple[int, int, bool]:
        return self._progress.epoch, self._progress.step, self._progress.trained
