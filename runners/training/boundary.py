"""Between two steps: the only place where a run is saved in the middle of an epoch, or stopped."""

import logging
from collections.abc import Iterator

from pylon.data import LoaderWorkerError
from pylon.runners.training.groups import Group
from pylon.runners.training.training import Training

logger = logging.getLogger(__name__)


def end_step(training: Training) -> None:
    """Look for a failed write and for a stop, and save if that is due.

    Raises:
        RunStopped: the ranks have agreed to stop; the state of this very step is saved.
        Exception: what went wrong in writing since the last step.
    """
    training.saver.end_step()
    due = training.context.stop.agree(save=training.saver.due(training.progress.global_step))
    _stop_if_agreed(training)
    if due:
        save(training)


def stop_if_signalled(training: Training) -> None:
    """Let all ranks meet; if they agree to stop, save and raise RunStopped."""
    training.context.stop.agree()
    _stop_if_agreed(training)


def guarded(training: Training, groups: Iterator[Group]) -> Iterator[Group]:
    """The steps' batches; if a loader worker ends them, the steps before it are saved."""
    try:
        yield from groups
    except LoaderWorkerError:
        save_last(training)
        raise


def save_last(training: Training) -> None:
    """Save as this launch's last act, or log that the disk refuses.

    One of several ranks that ends alone cannot save: the others' generators are part of the state.
    """
    stop = training.context.stop
    if stop.agreed or stop.is_alone:
        _save_or_log(training)


def save_trained(training: Training) -> None:
    """Save the trained epoch as this launch's last act; a rank that ends alone can, with generators held."""
    if _save_or_log(training):
        logger.info(
            "epoch %d/%d is trained and saved: the same command resumes with its validation",
            training.progress.epoch + 1,
            training.epochs,
        )


def _save_or_log(training: Training) -> bool:
    """Save; whether the disk has taken it."""
    try:
        save_now(training)
    except OSError as error:
        logger.error("this launch's newest steps are lost, the disk refuses them: %s", error)
        return False
    return True


def save_now(training: Training) -> None:
    """Save, and return when it is on the disk. Raises OSError if the disk refuses."""
    save(training)
    training.saver.finish()


def save(training: Training) -> None:
    """Save the state in the middle of an epoch, unless that is done or the epoch has no step yet."""
    progress = training.progress
    if progress.step == 0 or training.saver.holds(progress):
        return  # such as a launch that is stopped before its first step
    training.save(training.snapshot(training.step_log.so_far()))


def _stop_if_agreed(training: Training) -> None:
    if training.context.stop.agreed:
        save_last(training)
        training.context.stop.raise_if_agreed()
