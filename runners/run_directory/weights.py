"""Weights of one run as the start of another, or as what it tests: which file is meant, does it fit."""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from pylon.runners.distributed import World
from pylon.runners.errors import ConfigError, RunDirectoryError
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.foreign import weights_in, without_wrappers

logger = logging.getLogger(__name__)

STAGE_PREFIX = "stage:"
_NAMED = 8


def checkpoint_path(value: str, directory: RunDirectory, key: str) -> Path:
    """The file that a configured checkpoint means.

    Args:
        value: a path; or 'stage:NAME' for the best checkpoint of the run directory NAME next to this run's,
            or 'stage:NAME/FILE' for another file in there.
        directory: of this run.
        key: where `value` is configured, for the error.

    Raises:
        RunDirectoryError: there is no such file.
    """
    if value.startswith(STAGE_PREFIX):
        path = path_beside(directory.root, value)
        fix = f"{value!r} means a run directory next to {directory.root}. Finish that run, or give a path."
    else:
        path = Path(value)
        fix = "Give a checkpoint that a training run left, such as its checkpoint_best.pt, or a state_dict."
    if path.is_file():
        return path
    if (path / "checkpoint_best.pt").is_file():
        fix = f"It is a directory: give {path / 'checkpoint_best.pt'}."
    raise RunDirectoryError(f"{key}: {path} is no file. {fix}")


def path_beside(root: Path, value: str) -> Path:
    """What 'stage:NAME' or 'stage:NAME/FILE' means for the run directory `root`."""
    stage, _, file = value.removeprefix(STAGE_PREFIX).partition("/")
    return root.parent / stage / (file or "checkpoint_best.pt")


def read_weights(value: str, directory: RunDirectory, key: str, world: World) -> tuple[Path, dict[str, Any]]:
    """The file that a configured checkpoint means, and the weights that the run which left it evaluated.

    Args:
        value, directory, key: see `checkpoint_path`.
        world: the first rank reads for all.

    Raises:
        RunDirectoryError: there is no such file, or it is damaged or holds no weights.
    """

    def read() -> tuple[Path, dict[str, Any]]:
        path = checkpoint_path(value, directory, key)
        return path, weights_in(path)

    return world.on_writer(read)


def load_weights(
    path: Path,
    given: dict[str, Any],
    model: torch.nn.Module,
    key: str,
    *,
    prefixes: Sequence[str] | None = None,
    or_else: str = "",
) -> None:
    """Load weights into a model, which they must fit.

    Args:
        path, given: what `read_weights` gave.
        model: takes them over, on its own device.
        key: where the checkpoint is configured, for the error.
        prefixes: only what is named so, as in 'encoder.'; the rest of the model stays as it is. None: all.
        or_else: what else a user can do about one that does not fit, for the error.

    Raises:
        RunDirectoryError: they do not fit, with every name that does not.
        ConfigError: a prefix fits nothing in the model.
    """
    own = model.state_dict()
    given = without_wrappers(given, own)
    if prefixes is not None:
        _refuse_idle(prefixes, own, type(model).__name__)
        own, given = _named(own, prefixes), _named(given, prefixes)
    shapes = [
        f"{name} ({_shape(given[name])} there, {_shape(value)} in the model)"
        for name, value in own.items()
        if name in given and not is_lazy(value) and _shape(given[name]) != _shape(value)
    ]
    problems = {
        "missing there": [name for name in own if name not in given],
        "not in the model": [name for name in given if name not in own],
        "of another shape": shapes,
    }
    if any(problems.values()):
        misfits = "; ".join(
            f"{len(names)} {what}: {_listed(names)}" for what, names in problems.items() if names
        )
        raise RunDirectoryError(
            f"{key}: {path} does not fit {type(model).__name__}: {misfits}. Configure the model that it was "
            f"trained with{or_else}."
        )
    model.load_state_dict(given, strict=prefixes is None)


def start_from(
    value: str,
    prefixes: Sequence[str] | None,
    model: torch.nn.Module,
    average: torch.nn.Module | None,
    *,
    directory: RunDirectory,
    world: World,
) -> None:
    """Let a training begin with the weights of `runner.args.initial_checkpoint`.

    Args:
        value: what is configured, see `checkpoint_path`.
        prefixes: see `load_weights`.
        model: takes the weights over.
        average: of the model's weights, begins with all of the model's; None without one.
        directory: of the run.
        world: the first rank reads for all.

    Raises:
        RunDirectoryError, ConfigError: as `read_weights` and `load_weights`.
    """
    key = "runner.args.initial_checkpoint"
    path, given = read_weights(value, directory, key, world)
    or_else = ", or name the parts to take over in runner.args.initial_prefixes"
    load_weights(path, given, model, key, prefixes=prefixes, or_else=or_else)
    if average is not None:
        average.load_state_dict(model.state_dict())
    part = "" if prefixes is None else f", {', '.join(prefixes)} alone"
    logger.info("starting with the weights of %s%s", path.resolve(), part)


def warn_of_unfinished(path: Path) -> None:
    """Log a warning if the run that left a checkpoint is not finished: its best epoch may change."""
    # On a file system without links checkpoint_best.pt is itself in the run directory.
    for directory in (path.parent, path.resolve().parent.parent):
        try:
            state = json.loads((directory / "state.json").read_text(encoding="utf-8"))["state"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a checkpoint that was copied somewhere alone
        if state != "finished":
            logger.warning(
                "%s: the run that left it is %s, not finished: its best epoch may change", path, state
            )
        return


def warn_of_other_checkpoint(config: dict[str, Any], directory: RunDirectory) -> None:
    """Log a warning if a finished evaluation's checkpoint is not the one that its path means now.

    Args:
        config: of the run.
        directory: of the run.
    """
    value = config["runner"]["args"].get("checkpoint")
    tested = (directory.read_object(directory.test_results) or {}).get("checkpoint")
    if not isinstance(value, str) or tested is None:
        return
    try:
        now = str(checkpoint_path(value, directory, "").resolve())
    except RunDirectoryError:
        return  # what was tested is gone, and the scores are still its
    if now != tested:
        logger.warning("these scores are of %s, but %s is now %s: --fresh tests that", tested, value, now)


def _refuse_idle(prefixes: Sequence[str], own: Iterable[str], model: str) -> None:
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in own):
            first = sorted({f"{name.partition('.')[0]}." for name in own})
            raise ConfigError.single(
                "runner.args.initial_prefixes",
                prefix,
                f"the beginning of a name in {model}, such as {_listed(first)}",
                "configuration",
            )


def _named(state: dict[str, Any], prefixes: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name.startswith(tuple(prefixes))}


def _shape(value: object) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
