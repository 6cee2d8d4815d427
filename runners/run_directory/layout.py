"""The names in a run directory: which a run writes, which must be no links, which a `--debug` run empties."""

import contextlib
import os
import re
import stat
from pathlib import Path

from pylon.storage import (
    open_unlinked,
    refuse_link,
    refuse_other_than_file,
    refuse_planted_entry,
)

DEBUG_MARKER = ".debug-run"
LOCK = ".lock"
_LINKS = ("checkpoint_latest.pt", "checkpoint_best.pt")
_FILES = (
    "config.json",
    "environment.json",
    "state.json",
    "history.jsonl",
    "history.json",
    "history.sqlite",
    "history.sqlite-wal",
    "history.sqlite-shm",
    "history.sqlite.lock",
    "stacks.txt",
    "train.log",
    "metrics.jsonl",
    "curves.png",
)
_FOLDERS = ("test", "predictions", "non_finite", "loggers", "tensorboard")
_EPOCH = re.compile(r"epoch_(\d+)")
_IN_FOLDERS = (
    "epoch_[0-9]*/training_losses.pt",
    "epoch_[0-9]*/training_losses.f64",
    "epoch_[0-9]*/validation_scores.json",
    "epoch_[0-9]*/checkpoint.pt",
    "epoch_[0-9]*/checkpoint.manifest.json",
    "epoch_[0-9]*/step_[0-9]*.pt",
    "epoch_[0-9]*/trained.pt",
    "epoch_[0-9]*/step_[0-9]*.manifest.json",
    "epoch_[0-9]*/trained.manifest.json",
    "epoch_[0-9]*/*.damaged",
    "epoch_[0-9]*/*.damaged.manifest.json",
    "test/test_results.json",
    "non_finite/epoch_[0-9]*.pt",
    "predictions/[0-9][0-9][0-9][0-9][0-9].png",
)


def refuse_planted_files(root: Path) -> None:
    """Refuse a run directory in which another user may have planted what a run reads or writes.

    A link is accepted as `epoch_N`, which is then read alone, and as a checkpoint.

    Raises:
        PlantedError: it is so.
    """
    for path in root.iterdir():
        try:
            status = path.lstat()
        except FileNotFoundError:
            # The recorder of a killed launch may still close its record, which removes files.
            continue
        if path.name in {*_FILES, LOCK, DEBUG_MARKER}:
            refuse_other_than_file(path, status)
        elif path.name in _FOLDERS:
            refuse_link(path)
            _refuse_planted(path, status)
        elif path.name in _LINKS or _EPOCH.fullmatch(path.name):
            _refuse_planted(path, status)


def _refuse_planted(path: Path, status: os.stat_result) -> None:
    refuse_planted_entry(path)
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_IWOTH:
        for one in path.iterdir():
            refuse_planted_entry(one)


def refuse_linked_epochs(root: Path, first: int) -> None:
    """Refuse links in the place of epochs that are still to be written.

    Args:
        root: the run directory.
        first: number of the first one.

    Raises:
        PlantedError: there is one.
    """
    for path in root.glob("epoch_*"):
        epoch = _EPOCH.fullmatch(path.name)
        if epoch is not None and int(epoch[1]) >= first:
            refuse_link(path)


def empty(root: Path) -> None:
    """Delete what a run has made, and nothing behind a link; mark the directory as a `--debug` run's."""
    for name in (*_FILES, *_LINKS):
        (root / name).unlink(missing_ok=True)
    for pattern in _IN_FOLDERS:
        for path in root.glob(pattern):
            if path.parent.is_symlink():
                continue
            path.unlink()
            with contextlib.suppress(OSError):  # not empty: it holds a file of the user's
                path.parent.rmdir()
    os.close(open_unlinked(root / DEBUG_MARKER, os.O_CREAT | os.O_WRONLY))
