"""Reading a checkpoint: whether it is as it was written, holds values alone, and has the right form.

manifest ── fits: what then fails is no damage (UnreadableError), and the file stays where it is
         └─ differs, or is absent: what fails is damage (RunDirectoryError)
"""

import logging
import pickle
from pathlib import Path
from typing import Any

import torch

from pylon.runners.errors import RunDirectoryError
from pylon.storage import DamagedFileError, verify_manifest

# Format 1 knew no manifest; format 2 held the history and the losses of the running epoch.
READABLE_FORMATS = (1, 2, 3)
# What these held of the progress, and where it is now: `history.jsonl`, and a file in the epoch's folder.
FORMER_PROGRESS = frozenset({"history", "losses"})
_NUMBER = (int, float)
# The types of what `Progress` holds; what an earlier version did not write may be absent.
_PROGRESS: dict[str, tuple[type, ...]] = {
    "epoch": (int,),
    "global_step": (int,),
    "best_epoch": (int, type(None)),
    "best_score": (*_NUMBER, type(None)),
    "history": (list,),
    "step": (int,),
    "skipped": (int,),
    "losses": (list,),
    "losses_sha256": (str,),
    "trained": (bool,),
    "training_time_s": _NUMBER,
    "ranks": (int,),
    "data": (dict,),
}
_NEEDED = frozenset({"epoch", "global_step", "best_epoch", "best_score"})

_SAVE = (
    "Load it in the program that made it, write torch.save(model.state_dict(), 'weights.pt') there, and give "
    "weights.pt"
)
_MODEL = f"it is a whole pickled model, with the code that it needs, and only weights are read. {_SAVE}"
_SCRIPT = f"it is a TorchScript archive, and only weights are read. {_SAVE}"

logger = logging.getLogger(__name__)


class UnreadableError(RunDirectoryError):
    """A checkpoint is as it was written, and this launch cannot use it."""


def manifest_of(path: Path) -> Path:
    """The file of a checkpoint's manifest."""
    return path.with_suffix(".manifest.json")


def read_content(path: Path, only: str | None = None) -> dict[str, Any]:
    """The content of a checkpoint, of the form that `content_of` gives.

    Args:
        path: the checkpoint file, or a link to it.
        only: the one file of the manifest to compare; None: all.

    Raises:
        UnreadableError: the file fits its manifest, and holds something else.
        RunDirectoryError: the file is damaged, or no checkpoint.
    """
    # The links next to the epochs carry no manifest: the file that they lead to does.
    path = path.resolve()
    is_whole = _fits_manifest(path, only)
    return checked_content(path, values_of(path, is_whole=is_whole), is_whole=is_whole)


def values_of(path: Path, *, is_whole: bool = False) -> Any:  # noqa: ANN401 - whatever the file holds
    """What a file of torch holds, if that is values alone.

    Args:
        path: the file.
        is_whole: it is as a run wrote it, so that what fails is no damage.

    Raises:
        UnreadableError, RunDirectoryError: as `read_content`.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text advises to execute what the file brings
        if not is_whole and (types := _foreign_types(path)):
            raise RunDirectoryError(f"{path}: cannot be used: {_pickled(types)}.") from error
        raise _error(path, _foreign(path) if is_whole else "it holds other than values", is_whole) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged or made-up file makes torch's reader raise anything
        if "TorchScript" in str(error):
            raise RunDirectoryError(f"{path}: cannot be used: {_SCRIPT}.") from error
        raise _error(path, f"torch {torch.__version__} reports {error!r}", is_whole) from error


def checked_content(path: Path, content: Any, *, is_whole: bool = False) -> dict[str, Any]:  # noqa: ANN401 - as read
    """`content`, if it has the form that `content_of` gives.

    Raises:
        UnreadableError, RunDirectoryError: as `read_content`.
    """
    problem = _problem_of(content)
    if problem is not None:
        raise _error(path, problem, is_whole)
    checked: dict[str, Any] = content
    return checked


def _fits_manifest(path: Path, only: str | None) -> bool:
    try:
        verify_manifest(manifest_of(path), only)
    except FileNotFoundError:
        # Of format 1, or copied somewhere alone: only torch's own checks are left.
        logger.debug("%s has no manifest", path)
        return False
    except DamagedFileError as error:
        raise RunDirectoryError(f"{path}: is damaged: {error}") from error
    return True


def _error(path: Path, problem: str, is_whole: bool) -> RunDirectoryError:
    if is_whole:
        return UnreadableError(
            f"{path}: is as it was written (its SHA-256 is that of its manifest), but cannot be used: "
            f"{problem}. It stays where it is. Fix this and repeat the command, or start over with --fresh."
        )
    return RunDirectoryError(f"{path}: is damaged or no checkpoint: {problem}.")


def _foreign_types(path: Path) -> list[str]:
    try:
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # noqa: BLE001 - the reader has refused the file already; this only adds the names
        return []


def _foreign(path: Path) -> str:
    """Which types the file holds that are not read, and how a user has them read."""
    types = _foreign_types(path)
    return _allowed(types) if types else "it holds values of types that are not read"


def _pickled(types: list[str]) -> str:
    """The same of a file that no run wrote."""
    return _MODEL if any(name.startswith("torch.nn.modules.") for name in types) else _allowed(types)


def _allowed(types: list[str]) -> str:
    numpy = any(name.startswith("numpy") for name in types)
    names = [*types, *(["type(numpy.dtype('float64'))"] if numpy else [])]
    return (
        f"it holds {', '.join(types)}, which is not read from a file without being allowed. If you trust the "
        f"file, write torch.serialization.add_safe_globals([{', '.join(names)}]) into the configuration file"
    )


def _problem_of(content: object) -> str | None:
    """What is wrong with the form of a checkpoint's content, None if nothing is."""
    if not isinstance(content, dict):
        return f"it holds {_kind(content)}, expected a dict"
    if not any(content.get("format") == number for number in READABLE_FORMATS):
        return (
            f"it is no checkpoint of the formats that this version reads: {list(READABLE_FORMATS)}; its "
            f"format is {content.get('format')!r:.40}"
        )
    parts, progress = content.get("parts"), content.get("progress")
    if not isinstance(parts, dict):
        return f"parts: {_kind(parts)}, expected a dict"
    if not isinstance(progress, dict):
        return f"progress: {_kind(progress)}, expected a dict"
    needed = _NEEDED if content["format"] == READABLE_FORMATS[-1] else _NEEDED | {"history"}
    missing = sorted(needed - progress.keys())
    if missing:
        return f"progress: {', '.join(missing)} is missing"
    return next((problem for problem in map(_progress_problem, progress.items()) if problem), None)


def _progress_problem(item: tuple[Any, Any]) -> str | None:
    key, value = item
    accepted = _PROGRESS.get(key)
    if accepted is None:
        return f"progress: {key!r:.40} is unknown, and so of a later version"
    if type(value) not in accepted or (type(value) is int and value < 0 and key != "best_score"):
        return f"progress.{key}: {value!r:.40}, expected {' or '.join(one.__name__ for one in accepted)}"
    if key == "history" and not all(is_record(record) for record in value):
        return "progress.history: expected a dict with the validation's scores for each epoch"
    if key == "losses" and not all(type(loss) in _NUMBER for loss in value):
        return "progress.losses: expected numbers"
    return None


def is_record(record: object) -> bool:
    """Whether this has the form of what the history holds of an epoch."""
    return isinstance(record, dict) and isinstance(record.get("validation"), dict)


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
