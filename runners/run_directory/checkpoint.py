"""Checkpoints: files, whole or absent, from which a run resumes to the same bits.

    epoch_N/checkpoint.pt               a finished epoch
    epoch_N/step_K.pt                   after K steps of an epoch; trained.pt: after all, before validation
    epoch_N/*.manifest.json             size and SHA-256 of it and of the epoch's other files

Every epoch begins by seeding all generators from its own seed. In the middle of one, the generators'
states are part of the checkpoint, and the loader continues with the first batch that was not trained on.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from pylon.metrics.directions import Direction, is_better
from pylon.runners.errors import RunDirectoryError
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.plain import plain_state, recorded
from pylon.runners.run_directory.reading import UnreadableError, manifest_of, read_content
from pylon.storage import atomic_path, describe_file, write_manifest

_FORMAT = 2
_PARTS_OF_FORMAT_1 = frozenset({"model", "optimizer", "scheduler"})

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
        global_step: steps done, with those that were left out.
        best_epoch: epoch with the best validation score, None before the first.
        best_score: that score, None if it was undefined.
        history: one JSON-ready record per finished epoch.
        step: steps done in the epoch that is not finished.
        losses: of these steps.
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
    history: list[dict[str, Any]] = field(default_factory=list)
    step: int = 0
    losses: list[float] = field(default_factory=list)
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
        """Note the running epoch if its validation score is the best so far, or the first; whether it is."""
        score = recorded(score)
        is_best = self.best_epoch is None or is_better(direction, score, self.best_score)
        if is_best:
            self.best_epoch, self.best_score = self.epoch, score
        return is_best

    def finish_epoch(self, record: dict[str, Any]) -> None:
        """Count the running epoch as finished.

        Args:
            record: what the history holds of it, in addition to how far the run has come.
        """
        position = {"epoch": self.epoch, "global_step": self.global_step}
        time_s = {"training_time_s": round(self.training_time_s, 3)}
        self.history.append(recorded(position | record | time_s))
        self.epoch += 1
        self.step, self.losses, self.skipped, self.trained, self.training_time_s = 0, [], 0, False, 0.0


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


def evaluated_state(path: Path) -> dict[str, Any]:
    """The weights that a training run evaluated: the model's, or their average if it used that.

    Raises:
        RunDirectoryError: the file is damaged or no checkpoint.
    """
    parts = read(path)["parts"]
    average = parts.get("average")
    try:
        state = parts["model"] if average is None or not average["evaluated"] else average["model"]
    except (KeyError, TypeError) as error:
        raise RunDirectoryError(f"{path}: holds no weights of a model: {error!r}.") from error
    if not isinstance(state, dict):
        raise RunDirectoryError(f"{path}: its model's weights are a {type(state).__name__}, expected a dict.")
    return state


def find_newest(directory: RunDirectory) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that can be read and its content, None if there is none.

    A damaged one is named in the log and kept aside as `checkpoint.damaged`. A sound one counts only
    together with the best epoch's checkpoint that it refers to: the run's result is that epoch's.

    Raises:
        UnreadableError: one that fits its manifest cannot be read; no older one takes its place.
    """
    for path in directory.resumable():
        try:
            content = read_content(path)
        except UnreadableError:
            raise  # it is sound: what is in the way is not the file
        except RunDirectoryError as error:
            _set_aside(path, error)
            continue
        best = content["progress"]["best_epoch"]
        if best is None or directory.checkpoint(best) == path or _is_sound(directory.checkpoint(best)):
            return path, content
        logger.warning("%s is sound, but the best epoch's checkpoint it refers to is not", path)
    return None


def _set_aside(path: Path, error: RunDirectoryError) -> None:
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


def discard_superseded(directory: RunDirectory, keep: Collection[int]) -> None:
    """Delete the checkpoints of all epochs but those in `keep`. Scores and losses of every epoch stay."""
    for epoch in directory.checkpointed_epochs():
        if epoch not in keep:
            remove(directory.checkpoint(epoch))


def remove(path: Path) -> None:
    """Delete a checkpoint, and only then what vouches for it."""
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
        content: what `read` or `find_newest` gave.
        parts: what to load into, by the names it was saved under; a subset will do. Each keeps its device.

    Raises:
        RunDirectoryError: it does not fit these parts.
    """
    try:
        for name, part in parts.items():
            if part is None or (content["format"] == 1 and name not in _PARTS_OF_FORMAT_1):
                continue
            part.load_state_dict(content["parts"][name])
        return Progress(**content["progress"])
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise RunDirectoryError(
            f"{path}: does not fit the configured model, optimizer or scheduler: {error}. "
            "Use the configuration it was trained with, or start over with --fresh."
        ) from error
