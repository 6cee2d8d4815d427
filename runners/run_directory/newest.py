"""The newest checkpoint that a launch can resume from; damaged ones are set aside."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pylon.runners.errors import RunDirectoryError
from pylon.runners.outputs.losses import EpochLosses, read_losses
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.listing import RUNNING_LOSSES
from pylon.runners.run_directory.reading import UnreadableError, manifest_of, read_content

logger = logging.getLogger(__name__)


class Found(NamedTuple):
    """A checkpoint that a launch can resume from.

    Attributes:
        path: its file.
        content: what `read` gives of it.
        losses: of the steps that are done in its running epoch.
    """

    path: Path
    content: dict[str, Any]
    losses: Sequence[float]


def find_newest(directory: RunDirectory, *, set_aside: bool = True) -> Found | None:
    """The newest checkpoint that can be read, None if there is none.

    A damaged one is named in the log and kept aside as `checkpoint.damaged`. A sound one counts only
    together with the best epoch's checkpoint that it refers to: the run's result is that epoch's.

    Args:
        directory: of the run.
        set_aside: False passes damaged ones over and changes nothing.

    Raises:
        UnreadableError: one that fits its manifest cannot be read; no older one takes its place. Or sound
            ones are there, but not the best epoch's that they refer to: to start over would delete them.
    """
    lacking: dict[Path, Path] = {}
    for path in directory.resumable():
        try:
            content = read_content(path)
            losses = _losses_of(path, content["progress"])
        except UnreadableError:
            raise  # it is sound: what is in the way is not the file
        except RunDirectoryError as error:
            if set_aside:
                _set_aside(path, error)
            continue
        best = content["progress"]["best_epoch"]
        if best is None or directory.checkpoint(best) == path or _is_sound(directory.checkpoint(best)):
            return Found(path, content, losses)
        logger.warning("%s is sound, but the best epoch's checkpoint it refers to is not", path)
        lacking[path] = directory.checkpoint(best)
    for path, best_path in lacking.items():
        raise UnreadableError(
            f"{best_path}: is missing or damaged. It is the best epoch's, and so the run's result; {path} is "
            "sound and refers to it. Copy it, with its manifest, from where this directory was copied or "
            "from a backup; or start over next to it with --fresh."
        )
    return None


def _losses_of(path: Path, progress: dict[str, Any]) -> Sequence[float]:
    """The losses of the steps that a checkpoint counts in its running epoch.

    Raises:
        RunDirectoryError: they are gone or damaged.
    """
    if "losses" in progress:  # of an earlier version
        former: list[float] = progress["losses"]
        return former
    count, expected = progress.get("step", 0), progress.get("losses_sha256", "")
    if not expected:
        return []
    for read_from in (_running_losses, _finished_losses):
        losses = read_from(path.parent, count)
        if EpochLosses(losses).sha256 == expected:
            return losses
    raise RunDirectoryError(
        f"{path}: cannot be used: the first {count} losses in {path.with_name(RUNNING_LOSSES)} are gone or "
        f"damaged, expected {count} of SHA-256 {expected}."
    )


def _running_losses(folder: Path, count: int) -> Sequence[float]:
    try:
        return read_losses(folder / RUNNING_LOSSES, count)
    except FileNotFoundError:
        return []


def _finished_losses(folder: Path, count: int) -> Sequence[float]:
    """If a newer checkpoint is damaged, the epoch of an older one may be finished."""
    try:
        losses: list[float] = torch.load(folder / "training_losses.pt", weights_only=True)[:count].tolist()
    except Exception:  # noqa: BLE001 - a damaged or made-up file makes torch's reader raise anything
        return []
    return losses


def _set_aside(path: Path, error: RunDirectoryError) -> None:
    if path.parent.is_symlink():
        logger.warning("checkpoint not used: %s It stays there, as its folder is a link.", error)
        return
    aside = path.with_suffix(".damaged")
    path.replace(aside)
    manifest = manifest_of(path)
    if manifest.exists():
        manifest.replace(path.with_suffix(".damaged.manifest.json"))
    logger.warning("checkpoint set aside as %s: %s", aside, error)


def _is_sound(path: Path) -> bool:
    try:
        read_content(path)
    except UnreadableError:
        raise
    except RunDirectoryError:
        return False
    return True
