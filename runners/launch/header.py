"""What a run directory holds before the first step: its configuration and each launch."""

import logging
from typing import Any

import torch

from pylon.masking import masked_words, secrets_in
from pylon.runners.config import file_digests, to_json
from pylon.runners.distributed import World
from pylon.runners.launch.environment import describe
from pylon.runners.run_directory.directory import RunDirectory
from pylon.storage import write_json

logger = logging.getLogger(__name__)


def warn_of_changed_files(directory: RunDirectory) -> None:
    """Log a warning if the files of the configuration have changed since results that are resumed."""
    launches = directory.launches()
    former = (launches[-1].get("configuration_files") if launches else None) or {}
    changed = [path for path, digest in file_digests().items() if former.get(path, digest) != digest]
    if changed and directory.has_results():
        logger.warning(
            "%s: changed since the launch that is resumed: what the run has done so far, it did with "
            "the former content",
            ", ".join(changed),
        )


def write_header(directory: RunDirectory, config: dict[str, Any], device: torch.device, world: World) -> None:
    """Write what the run is, and note this launch of it; without secrets wherever that is possible."""
    content = to_json(config)
    secret = list(dict.fromkeys(path for path, _ in secrets_in(content)))
    # Whole, because it gives the run again: a masked value would be another configuration.
    write_json(directory.config, content, private=bool(secret))
    if secret:
        logger.warning(
            "%s: holds the secrets of %s. Only you can read it, but a copy gives them away: let the class "
            "read them from an environment variable.",
            directory.config,
            ", ".join(secret),
        )
    launch = describe(device, world.size, file_digests())
    # An earlier version may have written the former ones.
    former = [_masked_launch(one) for one in directory.launches()]
    write_json(directory.environment, {"launches": [*former, launch]})


def _masked_launch(launch: dict[str, Any]) -> dict[str, Any]:
    command = launch.get("command")
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        return launch
    return {**launch, "command": masked_words(command)}
