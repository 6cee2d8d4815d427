"""Resuming a run: what its directory holds, loaded into the parts of a training."""

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pylon.runners.distributed import World
from pylon.runners.errors import RunDirectoryError
from pylon.runners.outputs.losses import EpochLosses
from pylon.runners.outputs.unfinished import drop_unfinished_epochs, steps_noted
from pylon.runners.run_directory import checkpoint
from pylon.runners.run_directory.checkpoint import Progress, Stateful
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.history import Record, restore_records
from pylon.runners.run_directory.newest import Found, find_newest
from pylon.runners.run_directory.saving import refer_to_checkpoints

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resumed:
    """The moment that a launch resumes from.

    Attributes:
        progress: how far the run had come.
        losses: of the steps of its running epoch.
    """

    progress: Progress
    losses: EpochLosses


def resume(
    directory: RunDirectory,
    world: World,
    parts: dict[str, Stateful | None],
    data: dict[str, str],
    begin: Callable[[], None],
) -> Resumed | None:
    """Load the newest sound checkpoint of the run, and remove from its files what came after that moment.

    Args:
        directory: of the run.
        world: the ranks of this launch.
        parts: what to load into, on every rank.
        data: fingerprint of the dataset of each split.
        begin: called if there is no checkpoint.

    Returns:
        What the launch resumes from, None if the run begins.

    Raises:
        RunDirectoryError: the checkpoint is of other parts, of another number of processes, or of other data;
            or an epoch that is to be written has a link in its place.
        TrainingError: a checkpoint of these parts could not be read back.
    """
    # Tried before the first step: at the first save an epoch of work would be lost.
    checkpoint.content_of(parts, Progress())
    found = _found_for_all(directory, world)
    epoch = 0 if found is None else int(found.content["progress"]["epoch"])
    world.on_writer(lambda: directory.refuse_linked_epochs(epoch))
    if found is None:
        begin()
        world.on_writer(lambda: _cut_files(directory, Progress(), None))
        return None
    saved = found.content["progress"]
    _refuse_other_ranks(directory, world, saved.get("ranks", 1))
    # Scores of an epoch are compared with those of others, and the test is not done yet.
    free = {"test"} if saved.get("best_epoch") is not None else {"test", "val"}
    _refuse_other_data(directory, saved.get("data", {}), data, free)
    progress = checkpoint.restore(found.path, found.content, parts)
    progress.data = data
    within = f" and {progress.step} steps" if progress.step else ""
    logger.info("resuming after %d finished epochs%s", progress.epoch, within)

    def tidy() -> None:
        _refuse_read_only(directory.epoch(progress.epoch))
        refer_to_checkpoints(directory, progress)
        _cut_files(directory, progress, saved.get("history"))

    world.on_writer(tidy)
    return Resumed(progress, EpochLosses(found.losses))


def _found_for_all(directory: RunDirectory, world: World) -> Found | None:
    """What the first rank finds, as the plain values that ranks send."""

    def find() -> tuple[Path, dict[str, Any], torch.Tensor] | None:
        found = find_newest(directory)
        if found is None:
            return None
        return found.path, found.content, torch.tensor(found.losses, dtype=torch.float64)

    sent = world.on_writer(find)
    return None if sent is None else Found(sent[0], sent[1], sent[2].tolist())


def _refuse_read_only(folder: Path) -> None:
    """Raise RunDirectoryError if the running epoch's folder takes no file: all that follows would be lost."""
    if not folder.exists():
        return
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except PermissionError as error:
        owner = folder.stat().st_uid
        raise RunDirectoryError(
            f"{folder}: belongs to user {owner}, and user {os.getuid()} cannot write there: {error}. "
            "Change the owner or the permissions of the run directory (chown -R, chmod -R u+w) and repeat "
            "the command."
        ) from error


def _cut_files(directory: RunDirectory, progress: Progress, former: list[Record] | None) -> None:
    """Remove what came after this moment from the files that grow line by line."""
    drop_unfinished_epochs(directory.metrics, progress.epoch, progress.step)
    noted = steps_noted(directory.metrics)
    if noted is not None and noted < progress.global_step:
        logger.warning(
            "%s: lines are lost: it ends after step %d of the run, expected %d. The run continues; losses of "
            "each epoch are in its folder.",
            directory.metrics,
            noted,
            progress.global_step,
        )
    restore_records(directory.history, progress.epoch, former)
    # Made again when this launch ends.
    directory.history_list.unlink(missing_ok=True)


def _refuse_other_ranks(directory: RunDirectory, world: World, ranks: int) -> None:
    if ranks != world.size:
        raise RunDirectoryError(
            f"{directory.root}: holds a run of {ranks} processes, and this launch has "
            f"{world.size}: each step would take another number of batches. Start it with torchrun "
            f"--nproc-per-node so that they are {ranks}, or start over with --fresh."
        )


def _refuse_other_data(
    directory: RunDirectory, former: dict[str, str], current: dict[str, str], free: set[str]
) -> None:
    changed = {
        split: f"{split}_dataset: was {former[split]}, now {current.get(split, 'absent')}"
        for split in former
        if former[split] != current.get(split)
    }
    for split in sorted(free & changed.keys()):
        logger.warning(
            "%s: the %s data have changed since the last launch: %s", directory.root, split, changed[split]
        )
    rows = [f"  {row}" for split, row in changed.items() if split not in free]
    if rows:
        raise RunDirectoryError(
            "\n".join(
                [
                    f"{directory.root}: holds a run on other data:",
                    *rows,
                    "An epoch would go over some datapoints twice, and scores could not be compared. Restore "
                    "the data set (if the number is the same, list it in one order, as by sorted(): a set of "
                    "text has another order in each process), start over next to it with --fresh, or give "
                    "another --work-dir.",
                ]
            )
        )
