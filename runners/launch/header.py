"""What a run directory holds before the first step: its configuration and each launch."""

import logging
from typing import Any

import torch

from pylon.masking import masked_words, secrets_in
from pylon.runners.config import file_digests, to_json
from pylon.runners.distributed import World
from pylon.runners.launch.environment import describe
from pylon.runners.launch.surroundings import warn_of_changes
from pylon.runners.run_directory.directory import RunDirectory
from pylon.storage import write_json

logger = logging.getLogger(__name__)


def write_header(directory: RunDirectory, config: dict[str, Any], device: torch.device, world: World) -> None:
    """Write what the run is, and note this launch of it; without secrets wherever that is possible.

    What has changed since the launch before, and may change a number, is logged.
    """
    launches, launch = directory.launches(), describe(device, world.size, file_digests())
    if launches:
        warn_of_changes(launches[-1], launch, directory)
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
    # An earlier version may have written the former ones.
    former = [_masked_launch(one) for one in launches]
    write_json(directory.environment, {"launches": [*former, launch]})


def _masked_launch(launch: dict[str, Any]) -> dict[str, Any]:
    command = launch.get("command")
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        return launch
    return {**launch, "command": masked_words(command)}
