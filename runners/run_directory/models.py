"""The trained model of a run, for any program."""

import json
from pathlib import Path
from typing import Any

import torch

from pylon.runners.config import build, is_node
from pylon.runners.config.former import with_present_arguments
from pylon.runners.config.resolve import with_classes
from pylon.runners.errors import ConfigError, ConfigProblem, RunDirectoryError
from pylon.runners.randomness import generators_kept
from pylon.runners.run_directory.foreign import weights_in
from pylon.runners.run_directory.weights import load_weights
from pylon.storage import with_home


def load_model(
    run: str | Path, checkpoint: str = "checkpoint_best.pt", device: str | torch.device = "cpu"
) -> torch.nn.Module:
    """The model of a run with its trained weights, in evaluation mode.

    Of the run directory it reads `config.json` and the checkpoint. Neither data nor a device of the run are
    needed; what the model's class needs must be importable. Random generators are left as they were.

    Args:
        run: the run directory.
        checkpoint: a file in it, such as 'checkpoint_latest.pt' or 'epoch_3/checkpoint.pt', or a path.
        device: where the model goes.

    Raises:
        RunDirectoryError: there is no such run or checkpoint, or it does not fit the model.
        ConfigError: the model's class cannot be found, or refuses its arguments.
    """
    root, device = with_home(run), torch.device(device)
    config = _config_of(root)
    path = root / checkpoint
    if not path.is_file():
        raise RunDirectoryError(f"{path}: is no file. {_checkpoints_in(root)}")
    with generators_kept(device):
        model: torch.nn.Module = build(_model_of(config, root / "config.json"), key_path="model").to(device)
    if _is_channels_last(config):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types no 4-D case
    load_weights(path, weights_in(path), model, "load_model")
    return model.eval()


def _config_of(root: Path) -> dict[str, Any]:
    path = root / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        inside = sorted(str(one.parent) for one in root.glob("*/config.json"))
        fix = f"Give one of: {', '.join(inside)}" if inside else "Give the directory that a run left"
        raise RunDirectoryError(f"{root}: is no run directory, as it has no config.json. {fix}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path}: cannot be read as JSON ({error}).") from error
    if not isinstance(config, dict) or not is_node(config.get("model")):
        raise RunDirectoryError(f"{path}: has no model, expected {{'class': ..., 'args': {{...}}}} there.")
    return config


def _model_of(config: dict[str, Any], path: Path) -> Any:  # noqa: ANN401 - a node
    """The node of the model, its classes found. The rest of the configuration is not looked at."""
    problems: list[ConfigProblem] = []
    node = with_classes(config["model"], "model", problems)
    if problems:
        raise ConfigError(path, problems)
    return with_present_arguments(node)


def _is_channels_last(config: dict[str, Any]) -> bool:
    """Whether the run computed in this order, which is part of the bits."""
    runner = config.get("runner")
    arguments = runner.get("args", {}) if is_node(runner) else {}
    stepping = arguments.get("stepping")
    return bool((stepping["args"] if is_node(stepping) else arguments).get("channels_last", False))


def _checkpoints_in(root: Path) -> str:
    paths = [
        *root.glob("checkpoint_*.pt"),
        *root.glob("epoch_*/checkpoint.pt"),
        *root.glob("epoch_*/step_*.pt"),
    ]
    names = sorted(str(one.relative_to(root)) for one in paths)
    return f"There are: {', '.join(names[:8])}." if names else "The run has no checkpoint, or trains nothing."
