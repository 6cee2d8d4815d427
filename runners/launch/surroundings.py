"""What is not in a configuration and may change a number: its files, and what the launches run on.

Each launch records both in `environment.json`. Here they are compared with those of the launch before.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pylon.runners.run_directory.directory import RunDirectory

logger = logging.getLogger(__name__)

# See docs/determinism.md. `ranks` are not here: another number of them is refused.
_COUNTS = (
    "python",
    "packages.torch",
    "packages.numpy",
    "packages.pillow",
    "pylon",
    "device",
    "hardware.cpu",
    "hardware.torch_threads",
    "hardware.cuda_devices",
    "hardware.own_gpu_kernels",
)


def warn_of_changes(former: Mapping[str, Any], current: Mapping[str, Any], directory: RunDirectory) -> None:
    """Log what differs between two launches of a run that has results.

    Args:
        former: what `describe` gave for the launch that is resumed.
        current: what it gives for this one.
        directory: of the run.
    """
    if not directory.has_results():
        return
    files = _changed_files(former.get("configuration_files") or {}, current["configuration_files"])
    if files:
        logger.warning(
            "%s: changed since the launch that is resumed: what the run has done so far, it did with "
            "the former content",
            ", ".join(files),
        )
    pairs = [(key, _at(former, key), _at(current, key)) for key in _COUNTS]
    rows = [f"{key}: was {old}, now {new}" for key, old, new in pairs if old is not None and old != new]
    if rows:
        logger.warning(
            "the launch that is resumed ran on something else (%s): from here on the numbers may differ in "
            "their last bits from those of an uninterrupted run",
            "; ".join(rows),
        )


def _changed_files(former: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    # A file that was moved with its folder keeps its name.
    names = [Path(path).name for path in former]
    moved = {Path(path).name: digest for path, digest in former.items() if names.count(Path(path).name) == 1}
    return [
        path
        for path, digest in current.items()
        if former.get(path, moved.get(Path(path).name, digest)) != digest
    ]


def _at(launch: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - JSON
    """The value at a key path, None if it is not recorded."""
    value: Any = launch
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
