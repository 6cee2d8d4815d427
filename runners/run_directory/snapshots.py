"""What one save writes, captured on the training thread: a moment of the run, and no live object of it."""

import copy
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pylon.runners.run_directory import checkpoint
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.plain import recorded
from pylon.storage import atomic_path, write_json


@dataclass
class Snapshot:
    """A moment of a run, on its way to the disk.

    Attributes:
        progress: how far the run had come.
        content: the checkpoint; None once no policy keeps it any more, while its epoch's results still wait.
        losses: of the finished epoch's steps; None in the middle of an epoch.
        scores: of the finished epoch's validation; None in the middle of an epoch.
    """

    progress: checkpoint.Progress
    content: dict[str, Any] | None
    losses: list[float] | None = None
    scores: Any = None

    @property
    def ends_epoch(self) -> bool:
        """Whether it is a finished epoch's."""
        return self.losses is not None

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
            OSError: the disk refuses; nothing half is left, and it can be written again as a whole.
        """
        companions = []
        if self.losses is not None:
            folder = directory.epoch(self.epoch)
            companions = [folder / "training_losses.pt", folder / "validation_scores.json"]
            with atomic_path(companions[0]) as temporary:
                torch.save(torch.tensor(self.losses, dtype=torch.float64), temporary)
            write_json(companions[1], self.scores)
        if self.content is not None:
            checkpoint.write(self.path(directory), self.content, companions)


def capture(
    progress: checkpoint.Progress,
    parts: dict[str, checkpoint.Stateful | None],
    losses: list[float] | None = None,
    scores: Any = None,  # noqa: ANN401 - a metric's summary, as JSON
) -> Snapshot:
    """A snapshot whose tensors are still the run's own: write or detach it before training continues."""
    own = copy.deepcopy(progress)
    return Snapshot(own, checkpoint.content_of(parts, own), losses, recorded(scores))


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
