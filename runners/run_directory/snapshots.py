"""What one save writes, captured on the training thread: a moment of the run, and no live object of it."""

import copy
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pylon.runners.outputs.losses import EpochLosses
from pylon.runners.run_directory import checkpoint
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.plain import recorded
from pylon.storage import atomic_path, refuse_link, write_json


@dataclass(frozen=True)
class Results:
    """What a finished epoch leaves besides its checkpoint.

    Attributes:
        record: of the epoch, for the history.
        scores: of its validation, as JSON.
    """

    record: dict[str, Any]
    scores: Any


@dataclass
class Snapshot:
    """A moment of a run, on its way to the disk.

    Attributes:
        progress: how far the run had come.
        content: the checkpoint; None once no policy keeps it any more, while its epoch's results still wait.
        losses: of the epoch's steps, to which those after this moment may have been added.
        results: of the finished epoch; None in the middle of an epoch.
    """

    progress: checkpoint.Progress
    content: dict[str, Any] | None
    losses: EpochLosses
    results: Results | None = None

    @property
    def ends_epoch(self) -> bool:
        """Whether it is a finished epoch's."""
        return self.results is not None

    @property
    def epoch(self) -> int:
        """The epoch that it finishes, or is in the middle of."""
        return self.progress.epoch - 1 if self.ends_epoch else self.progress.epoch

    def path(self, directory: RunDirectory) -> Path:
        """The file of its checkpoint."""
        if self.ends_epoch:
            return directory.checkpoint(self.epoch)
        return directory.mid_epoch_checkpoint(self.epoch, self.progress.step, trained=self.progress.trained)

    def detach(self) -> None:
        """Copy the run's own tensors: training may continue while the copy waits."""
        if self.content is not None:
            self.content = copied(self.content)

    def write(self, directory: RunDirectory) -> None:
        """Write all of it, the checkpoint last: its presence says that the rest is there.

        Raises:
            OSError: the disk refuses, or the epoch's folder is a link; nothing half is left, and it can be
                written again as a whole.
        """
        refuse_link(self.path(directory).parent)
        companions = []
        folder = directory.epoch(self.epoch)
        if self.results is None:
            self.losses.store(directory.running_losses(self.epoch), self.progress.step)
        else:
            companions = [folder / "training_losses.pt", folder / "validation_scores.json"]
            with atomic_path(companions[0]) as temporary:
                torch.save(self.losses.tensor(), temporary)
            write_json(companions[1], self.results.scores)
        if self.content is not None:
            checkpoint.write(self.path(directory), self.content, companions)


def capture(
    progress: checkpoint.Progress,
    parts: dict[str, checkpoint.Stateful | None],
    losses: EpochLosses,
    results: Results | None = None,
) -> Snapshot:
    """A snapshot whose tensors are still the run's own: write or detach it before training continues.

    Args:
        progress: how far the run has come.
        parts: what changes from step to step.
        losses: of the running epoch's steps; with `results`, of the finished one's.
        results: of the epoch that has just ended; None in the middle of one.
    """
    if results is not None:
        results = Results(results.record, recorded(results.scores))
    own = replace(progress, losses_sha256=losses.sha256 if progress.step else "")
    return Snapshot(own, checkpoint.content_of(parts, own), losses, results)


def copied(value: Any) -> Any:  # noqa: ANN401 - any state_dict
    """A state with every tensor copied to the CPU's memory."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        result: Any = OrderedDict() if isinstance(value, OrderedDict) else {}
        result.update((key, copied(element)) for key, element in value.items())
        if hasattr(value, "_metadata"):  # a module's versions travel with its state
            result._metadata = value._metadata
        return result
    if isinstance(value, list | tuple):
        return type(value)(copied(element) for element in value)
    return copy.deepcopy(value)
