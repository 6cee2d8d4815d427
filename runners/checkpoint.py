"""Checkpoints: one file per finished epoch, whole or absent, from which a run goes on to the same bits.

Every epoch begins by seeding all generators from its own seed, so a checkpoint needs no generator
state: model, optimizer, scheduler and the run's own progress are all that the next epoch depends on.
"""

import logging
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from runners.errors import RunDirectoryError
from runners.run_directory import RunDirectory
from storage import atomic_path

_FORMAT = 1

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """Anything with the state_dict pair: models, optimizers, schedulers."""

    def state_dict(self) -> dict[str, Any]:
        """The state to save."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:  # noqa: ANN401 - torch returns what it likes
        """Take over a saved state."""


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: number of finished epochs, and so the index of the next one.
        global_step: optimizer steps taken.
        best_epoch: epoch with the best validation score, None before the first.
        best_score: that score, None where it was undefined.
        history: one JSON-ready record per finished epoch.
    """

    epoch: int = 0
    global_step: int = 0
    best_epoch: int | None = None
    best_score: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


def save(path: Path, parts: dict[str, Stateful | None], progress: Progress) -> None:
    """Write a checkpoint atomically. Raises OSError when the disk refuses; the former file then stays."""
    content = {
        "format": _FORMAT,
        "progress": asdict(progress),
        "parts": {name: None if part is None else part.state_dict() for name, part in parts.items()},
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load(path: Path, parts: dict[str, Stateful | None]) -> Progress:
    """Load a checkpoint into `parts` and return the progress it was saved at.

    Args:
        path: the checkpoint file.
        parts: what to load into, by the names it was saved under; a subset will do. Each keeps its device.

    Raises:
        RunDirectoryError: the file is damaged, of another format, or does not fit these parts.
    """
    return _restore(path, _read(path), parts)


def load_newest(directory: RunDirectory, parts: dict[str, Stateful | None]) -> Progress | None:
    """Load the newest checkpoint that can be read, None where there is none.

    A damaged one is named in the log and kept aside as `checkpoint.damaged`.

    Raises:
        RunDirectoryError: a sound checkpoint does not fit these parts.
    """
    for epoch in directory.checkpointed_epochs():
        path = directory.checkpoint(epoch)
        try:
            content = _read(path)
        except RunDirectoryError as error:
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            logger.warning("checkpoint set aside as %s: %s", aside, error)
        else:
            return _restore(path, content, parts)
    return None


def discard_superseded(directory: RunDirectory, keep: set[int]) -> None:
    """Delete the checkpoints of all epochs but those in `keep`. Scores and losses of every epoch stay."""
    for epoch in directory.checkpointed_epochs():
        if epoch not in keep:
            directory.checkpoint(epoch).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise RunDirectoryError(f"{path}: is damaged or no checkpoint: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise RunDirectoryError(f"{path}: is no checkpoint of format {_FORMAT}, which this version reads.")
    return content


def _restore(path: Path, content: dict[str, Any], parts: dict[str, Stateful | None]) -> Progress:
    try:
        for name, part in parts.items():
            saved = content["parts"][name]
            if part is not None:
                part.load_state_dict(saved)
        return Progress(**content["progress"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunDirectoryError(
            f"{path}: does not fit the configured model, optimizer or scheduler: {error}. "
            "Use the configuration it was trained with, or start over with --fresh."
        ) from error
