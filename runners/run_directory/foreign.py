"""Weights in files that other programs wrote, next to those in the checkpoints of runs.

a checkpoint of a run                   the weights that the run evaluated
torch.save(model.state_dict(), FILE)    as they are; also under 'state_dict', 'model_state_dict' or 'model'
FILE.safetensors                        as they are, if the package safetensors is installed
"""

import importlib
import logging
from pathlib import Path
from typing import Any

import torch

from pylon.runners.errors import RunDirectoryError
from pylon.runners.run_directory import checkpoint
from pylon.runners.run_directory.reading import checked_content, manifest_of, values_of

logger = logging.getLogger(__name__)

_ENTRIES = ("state_dict", "model_state_dict", "model")
_NAMED = 8


def weights_in(path: Path) -> dict[str, Any]:
    """The weights of a model in a file, by name.

    Raises:
        RunDirectoryError: the file is damaged, or holds something else.
    """
    path = path.resolve()
    if path.suffix == ".safetensors":
        return _of_safetensors(path)
    if manifest_of(path).exists():
        return checkpoint.evaluated_state(path, checkpoint.read(path))
    content = values_of(path)
    if isinstance(content, dict) and {"format", "parts"} <= content.keys():
        return checkpoint.evaluated_state(path, checked_content(path, content))
    if _is_state(content):
        return dict(content)
    for entry in _ENTRIES:
        if isinstance(content, dict) and _is_state(content.get(entry)):
            logger.info("%s: the weights are those under %r", path, entry)
            return dict(content[entry])
    raise RunDirectoryError(
        f"{path}: holds no weights of a model: expected names and tensors, as model.state_dict() gives them, "
        f"or a dict with these under {', '.join(map(repr, _ENTRIES))}; it holds {_described(content)}."
    )


def without_wrappers(given: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Names as the model has them, where DistributedDataParallel, DataParallel or torch.compile changed them.

    Args:
        given: weights by name.
        own: those of the model. A name that fits is never changed.
    """
    result: dict[str, Any] = {}
    for name, value in given.items():
        plain = name.replace("_orig_mod.", "")
        while plain not in own and plain.startswith("module."):
            plain = plain.removeprefix("module.")
        result[plain if name not in own and plain in own and plain not in given else name] = value
    return result


def _is_state(value: object) -> bool:
    return (
        isinstance(value, dict)
        and any(isinstance(one, torch.Tensor) for one in value.values())
        and all(
            isinstance(name, str) and (isinstance(one, torch.Tensor) or name.endswith("_extra_state"))
            for name, one in value.items()
        )
    )


def _of_safetensors(path: Path) -> dict[str, Any]:
    try:
        reader = importlib.import_module("safetensors.torch")
    except ImportError as error:
        raise RunDirectoryError(
            f"{path}: reading it needs the package safetensors, which is not installed: pip install "
            "safetensors, or write the same weights with torch.save(state_dict, FILE)."
        ) from error
    try:
        weights: dict[str, Any] = reader.load_file(path)
    except Exception as error:  # the package has an error of its own for a damaged file
        raise RunDirectoryError(f"{path}: is damaged or no safetensors file: {error}") from error
    return weights


def _described(content: object) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    names = [repr(name) for name in content]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"a dict with {', '.join(names[:_NAMED])}{more}" if names else "an empty dict"
