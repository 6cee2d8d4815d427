"""Configurations as JSON: classes become 'module:Name', and come back."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pylon.runners.config import files
from pylon.runners.config.node import children, is_node
from pylon.runners.errors import ConfigError, ConfigProblem
from pylon.runners.seeds import with_recorded_seeds

# They say where a run is, how it is watched, how its data are fetched and what of it is kept, and cannot
# change a number of it.
_WITHOUT_EFFECT = re.compile(
    r"work_dir|monitor"
    r"|(train|val|test)_dataloader\.args\."
    r"(num_workers|persistent_workers|pin_memory|prefetch_factor|multiprocessing_context|timeout_s)"
    r"|runner\.args\.(checkpoint_every_steps|checkpoint_every_minutes|asynchronous_checkpoints|retention)"
)


def to_json(config: dict[str, Any]) -> dict[str, Any]:
    """A checked configuration as plain JSON values with every seed recorded; `load_config` reads it again."""
    resolved: dict[str, Any] = _plain(with_recorded_seeds(config))
    return resolved


def from_json(content: Any, source: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """The configuration that `to_json` gave.

    Raises:
        ConfigError: classes named in it cannot be found, each with its key path.
    """
    problems: list[ConfigProblem] = []
    for path in set(_named_files(content)):
        files.forget(path)  # read as it is now, and once for all of its classes
    config = _with_classes(content, "", problems)
    if problems:
        raise ConfigError(source, problems)
    return config


def differences(former: Any, current: Any, key_path: str = "") -> list[tuple[str, Any, Any]]:  # noqa: ANN401 - JSON
    """Where two resolved configurations differ, apart from what cannot change a number of the run.

    Returns:
        (key path, former value, current value) each; '(absent)' stands for a missing key.
    """
    if isinstance(former, dict) and isinstance(current, dict):
        pairs = [
            (str(key), former.get(key, "(absent)"), current.get(key, "(absent)")) for key in former | current
        ]
    elif isinstance(former, list) and isinstance(current, list) and len(former) == len(current):
        pairs = [(str(number), *pair) for number, pair in enumerate(zip(former, current, strict=True))]
    else:
        return [] if former == current else [(key_path, former, current)]
    prefix = f"{key_path}." if key_path else ""
    return [
        row
        for key, old, new in pairs
        if not _WITHOUT_EFFECT.fullmatch(prefix + key)
        for row in differences(old, new, prefix + key)
    ]


def class_name(cls: type) -> str:
    """'module:Name', or 'path/to/file.py:Name' for a class that a configuration file defines."""
    if files.is_config_module(cls.__module__):
        return f"{files.path_of(cls.__module__)}:{cls.__qualname__}"
    return f"{cls.__module__}:{cls.__qualname__}"


def find_class(name: str) -> Any:  # noqa: ANN401 - the checker says what is no class
    """What 'module:Name' or 'path/to/file.py:Name' names.

    Raises:
        LookupError: there is no such thing; the text says why.
    """
    place, _, qualname = name.rpartition(":")
    if not place:
        raise LookupError(f"expected 'module:Name', not {name!r}")
    try:
        found: Any = files.module_of(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        for part in qualname.split("."):
            found = getattr(found, part)
    except Exception as error:  # a module's code may raise anything
        raise LookupError(f"{type(error).__name__}: {error}") from error
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401 - any configuration value
    if isinstance(value, type):
        return class_name(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    return value


def _with_classes(value: Any, key_path: str, problems: list[ConfigProblem]) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(value, dict | list):
        return value
    built = {
        key: _with_classes(element, f"{key_path}.{key}".lstrip("."), problems)
        for key, element in children(value)
    }
    if isinstance(value, list):
        return list(built.values())
    if is_node(value) and isinstance(value["class"], str):
        try:
            built["class"] = find_class(value["class"])
        except LookupError as error:
            expected = f"cannot be found ({error}); expected 'module:Name' or 'path/to/file.py:Name'"
            problems.append(ConfigProblem(f"{key_path}.class", repr(value["class"]), expected))
    return built


def _named_files(content: Any) -> Iterator[Path]:  # noqa: ANN401 - JSON
    if is_node(content) and isinstance(content["class"], str):
        place = content["class"].rpartition(":")[0]
        if place.endswith(".py"):
            yield Path(place)
    for _, element in children(content):
        yield from _named_files(element)
