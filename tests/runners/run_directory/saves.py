"""Savers of a run directory without a training, and what they have left there."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pylon.runners.outputs.losses import EpochLosses
from pylon.runners.outputs.step_log import StepLog
from pylon.runners.run_directory.checkpoint import Progress, Stateful
from pylon.runners.run_directory.checkpointing import Checkpointing
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.history import History
from pylon.runners.run_directory.listing import epoch_folders
from pylon.runners.run_directory.retention import Retention
from pylon.runners.run_directory.saving import Saver
from pylon.runners.run_directory.snapshots import Results, Snapshot, capture


@contextlib.contextmanager
def opened_saver(
    root: Path,
    checkpointing: Checkpointing | None = None,
    *,
    retention: Retention | None = None,
    resumed: Progress | None = None,
    clock: Callable[[], float] = lambda: 0.0,
) -> Iterator[Saver]:
    directory = RunDirectory(root)
    with (
        StepLog(directory.metrics, 1) as log,
        History(directory.history, "f1", 0 if resumed is None else resumed.epoch) as history,
    ):
        yield Saver(
            directory, log, history, retention=retention or Retention(), direction="higher",
            checkpointing=checkpointing or Checkpointing(), resumed=resumed, clock=clock,
        )  # fmt: skip


def moment(progress: Progress, parts: dict[str, Stateful | None] | None = None) -> Snapshot:
    """A snapshot in the middle of an epoch whose losses are all 0.5."""
    return capture(progress, parts or {}, EpochLosses([0.5] * progress.step))


def end_epoch(progress: Progress, score: float | None, **record: Any) -> Snapshot:
    """Count the running epoch as finished; a snapshot of that."""
    losses = EpochLosses([0.5] * progress.step)
    progress.judge(score, "higher")
    finished = progress.finish_epoch({"training_loss": 0.5, "validation": {"f1": score}, **record})
    return capture(progress, {}, losses, Results(finished, {"aggregated": {"f1": score}}))


def mid_epoch_checkpoints(root: Path) -> list[tuple[int, float, Path]]:
    """(epoch, steps done in it, file) of each checkpoint within an epoch; inf steps: all."""
    return sorted(
        (folder.epoch, step, path)
        for folder in epoch_folders(root)
        for step, path in folder.positions()
        if path.exists()
    )


def checkpointed_epochs(root: Path) -> set[int]:
    return {folder.epoch for folder in epoch_folders(root) if "checkpoint.pt" in folder.names}
