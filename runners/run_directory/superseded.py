"""Deleting what newer checkpoints replace: the folders are looked at once, when a launch begins."""

import logging
from pathlib import Path

from pylon.runners.run_directory import checkpoint
from pylon.runners.run_directory.checkpoint import Progress
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.listing import RUNNING_LOSSES, epoch_folders
from pylon.runners.run_directory.retention import KeptEpochs
from pylon.runners.run_directory.snapshots import Snapshot

logger = logging.getLogger(__name__)


class Superseded:
    """The checkpoints that may have to be deleted one day; a save looks at these alone.

    Those that stay for good leave it, so that there are never more than a few.

    Args:
        directory: the run's, whose epochs' folders are looked at here.
        kept: which epochs stay.
    """

    def __init__(self, directory: RunDirectory, kept: KeptEpochs) -> None:
        self._directory = directory
        self._kept = kept
        self._epochs: set[int] = set()
        self._positions: set[tuple[int, float, Path]] = set()
        self._losses: set[int] = set()
        for folder in epoch_folders(directory.root):
            if not folder.names.isdisjoint(("checkpoint.pt", "checkpoint.manifest.json")):
                self._epochs.add(folder.epoch)
            self._positions.update((folder.epoch, step, path) for step, path in folder.positions())
            if RUNNING_LOSSES in folder.names:
                self._losses.add(folder.epoch)

    def note(self, snapshot: Snapshot) -> None:
        """Take in what is about to be written: half of it may be on the disk if that fails."""
        epoch = snapshot.epoch
        if snapshot.ends_epoch:
            self._epochs.add(epoch)
        else:
            path = snapshot.path(self._directory)
            step = float("inf") if snapshot.progress.trained else float(snapshot.progress.step)
            self._positions.add((epoch, step, path))
            self._losses.add(epoch)

    def discard(self, progress: Progress, keep: frozenset[int]) -> None:
        """Delete what the checkpoint of a moment, which is on the disk, replaces.

        Args:
            progress: the moment.
            keep: epochs that stay for now.
        """
        running = progress.epoch if progress.step else progress.epoch - 1
        written = self._directory.mid_epoch_checkpoint(running, progress.step, trained=progress.trained)
        for epoch in [one for one in self._epochs if one < progress.epoch and one not in keep]:
            if not self._kept.for_good(epoch):
                _remove(self._directory.checkpoint(epoch))
            self._epochs.discard(epoch)
        for row in [one for one in self._positions if one[0] <= running and one[2] != written]:
            epoch, step, path = row
            if not (self._kept.position_for_good((epoch, step)) and path.exists()):
                _remove(path)
            self._positions.discard(row)
        for epoch in [one for one in self._losses if one < progress.epoch]:
            if not self._directory.epoch(epoch).is_symlink():
                self._directory.running_losses(epoch).unlink(missing_ok=True)
            self._losses.discard(epoch)


def _remove(path: Path) -> None:
    """Delete a checkpoint, or log that the next launch has to: what was saved since must not wait for it."""
    try:
        checkpoint.remove(path)
    except PermissionError as error:
        logger.warning(
            "%s: is replaced by a newer one and cannot be deleted: %s. The run continues, and the next "
            "launch tries again. Look at the owner of its folder.",
            path,
            error,
        )
