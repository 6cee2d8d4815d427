"""Checkpoints: files, whole or absent, from which a run resumes to the same bits.

    epoch_N/checkpoint.pt               a finished epoch
    epoch_N/step_K.pt                   after K steps of an epoch; trained.pt: after all, before validation
    epoch_N/training_losses.f64         losses of the running epoch's steps, whose SHA-256 these hold
    epoch_N/*.manifest.json             size and SHA-256 of it and of the epoch's other files

Nothing that grows with the run is in a checkpoint: epochs are in `history.jsonl`, steps in `metrics.jsonl`.
Every epoch begins by seeding all generators from its own seed. In the middle of one, the generators'
states are part of the checkpoint, and the loader continues with the first batch that was not trained on.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from pylon.metrics.directions import Direction, is_better
from pylon.runners.errors import RunDirectoryError
from pylon.runners.run_directory.plain import plain_state, recorded
from pylon.runners.run_directory.reading import FORMER_PROGRESS, manifest_of, read_content
from pylon.storage import atomic_path, describe_file, write_manifest

_FORMAT = 3
_PARTS_OF_FORMAT_1 = frozenset({"model", "optimizer", "scheduler"})


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
        global_step: steps done, with those that were left out.
        best_epoch: epoch with the best validation score, the newest one as long as no epoch has a score;
            None before the first.
        best_score: that score, None if it was undefined.
        step: steps done in the epoch that is not finished.
        losses_sha256: of the losses of these steps, see `EpochLosses`; "" if there is no step.
        skipped: how many of these steps were left out, because a number was not finite.
        trained: all steps of that epoch are done, what is left is its validation.
        training_time_s: spent on these steps.
        ranks: how many processes share each step.
        data: fingerprint of each split's dataset; of a run that an earlier version began, {}.
    """

    epoch: int = 0
    global_step: int = 0
    best_epoch: int | None = None
    best_score: float | None = None
    step: int = 0
    losses_sha256: str = ""
    skipped: int = 0
    trained: bool = False
    training_time_s: float = 0.0
    ranks: int = 1
    data: dict[str, str] = field(default_factory=dict)

    @property
    def position(self) -> tuple[int, int, bool]:
        """The moment of the run: epoch, steps done in it, and whether these are all."""
        return self.epoch, self.step, self.trained

    def count_step(self, time_s: float, *, last: bool, skipped: bool = False) -> None:
        """Count a step as done.

        Args:
            time_s: spent on it.
            last: it is the epoch's last one.
            skipped: it was left out.
        """
        self.step += 1
        self.global_step += 1
        self.skipped += skipped
        self.training_time_s += time_s
        self.trained = last

    def judge(self, score: float | None, direction: Direction) -> bool:
        """Note the running epoch if its validation score is the best so far; whether it is.

        As long as no epoch has a score, the newest one is noted: it is the most trained.
        """
        score = recorded(score)
        is_best = is_better(direction, score, self.best_score)
        if is_best or self.best_score is None:
            self.best_epoch, self.best_score = self.epoch, score
        return is_best

    def finish_epoch(self, record: dict[str, Any]) -> dict[str, Any]:
        """Count the running epoch as finished; its record for the history.

        Args:
            record: what the history holds of it, in addition to how far the run has come.
        """
        position = {"epoch": self.epoch, "global_step": self.global_step}
        time_s = {"training_time_s": round(self.training_time_s, 3)}
        finished: dict[str, Any] = recorded(position | record | time_s)
        self.epoch += 1
        self.step, self.skipped, self.trained, self.training_time_s = 0, 0, False, 0.0
        return finished


def content_of(parts: dict[str, Stateful | None], progress: Progress) -> dict[str, Any]:
    """What a checkpoint of these parts holds. Its tensors are the parts' own.

    Raises:
        TrainingError: the state of a part could be written and never read back.
    """
    return {
        "format": _FORMAT,
        "progress": asdict(progress),
        "parts": {
            name: None if part is None else plain_state(name, part, part.state_dict())
            for name, part in parts.items()
        },
    }


def write(path: Path, content: dict[str, Any], companions: Sequence[Path] = ()) -> None:
    """Write a checkpoint and its manifest atomically, the manifest first.

    Args:
        path: the checkpoint file.
        content: what `content_of` gave.
        companions: files of the same folder, written before, that the manifest vouches for too.

    Raises:
        OSError: the disk refuses; the former checkpoint then stays.
    """
    with atomic_path(path) as temporary:
        try:
            with temporary.open("wb") as file:
                torch.save(content, file)
        except RuntimeError as error:
            # torch's writer turns the disk's refusal into a RuntimeError while it closes its archive.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise
        files = {companion.name: describe_file(companion) for companion in companions}
        write_manifest(manifest_of(path), {path.name: describe_file(temporary), **files})


def load(path: Path, parts: dict[str, Stateful | None]) -> Progress:
    """Load a checkpoint into `parts` and return the progress it was saved at.

    Args:
        path: the checkpoint file.
        parts: what to load into, by the names it was saved under; a subset will do. Each keeps its device.

    Raises:
        RunDirectoryError: the file is damaged, of another format, or does not fit these parts.
    """
    return restore(path, read(path), parts)


def evaluated_state(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """The weights that a training run evaluated: the model's, or their average if it used that.

    Args:
        path: of the checkpoint, for the error.
        content: of the checkpoint.

    Raises:
        RunDirectoryError: there are none.
    """
    parts = content["parts"]
    average = parts.get("average")
    try:
        state = parts["model"] if average is None or not average["evaluated"] else average["model"]
    except (KeyError, TypeError) as error:
        raise RunDirectoryError(f"{path}: holds no weights of a model: {error!r}.") from error
    if not isinstance(state, dict):
        raise RunDirectoryError(f"{path}: its model's weights are a {type(state).__name__}, expected a dict.")
    return state


def remove(path: Path) -> None:
    """Delete a checkpoint, and only then what vouches for it; not in a folder that is a link."""
    if path.parent.is_symlink():
        return
    path.unlink(missing_ok=True)
    manifest_of(path).unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, for `restore`.

    Raises:
        RunDirectoryError: the file is damaged, or of another format.
    """
    return read_content(path, only=path.resolve().name)


def restore(path: Path, content: dict[str, Any], parts: dict[str, Stateful | None]) -> Progress:
    """Load a checkpoint's content into `parts` and return the progress it was saved at.

    Args:
        path: where it comes from, for the error.
        content: what `read` gave.
        parts: what to load into, by the names it was saved under; a subset will do. Each keeps its device.

    Raises:
        RunDirectoryError: it does not fit these parts.
    """
    try:
        for name, part in parts.items():
            if part is None or (content["format"] == 1 and name not in _PARTS_OF_FORMAT_1):
                continue
            if isinstance(part, torch.nn.Module) and "optimizer" in parts:
                _refuse_other_order(path, name, part, content["parts"][name])
            part.load_state_dict(content["parts"][name])
        progress = {key: value for key, value in content["progress"].items() if key not in FORMER_PROGRESS}
        return Progress(**progress)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise RunDirectoryError(
            f"{path}: does not fit the configured model, optimizer or scheduler: {str(error).rstrip(' .')}. "
            "Use the configuration it was trained with, or start over with --fresh."
        ) from error


def _refuse_other_order(path: Path, name: str, part: torch.nn.Module, saved: dict[str, Any]) -> None:
    """Raise RunDirectoryError if a part has its parameters in another order than when it was saved.

    An optimizer keeps its state by the place of a parameter, so that it would go to another one.
    """
    own = [parameter for parameter, _ in part.named_parameters()]
    former = [parameter for parameter in saved if parameter in frozenset(own)]
    first = next((pair for pair in zip(own, former, strict=False) if pair[0] != pair[1]), None)
    if first is None or len(own) != len(former):
        return  # parameters that only one of them has are named when they are loaded
    raise RunDirectoryError(
        f"{path}: {name}: has the same parameters in another order: {first[0]!r} is where {first[1]!r} was, "
        "and the optimizer's state is stored by this order. Make them in one order in each process (a set of "
        f"text has another in each one; use a list): {', '.join(former)}."
    )
