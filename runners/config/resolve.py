"""Configurations as JSON: classes become names, and come back."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from pylon.masking import masked
from pylon.runners.config import files, folders
from pylon.runners.config.former import with_present_arguments
from pylon.runners.config.names import class_name, find_class, place_of
from pylon.runners.config.node import children, is_named_function, is_node
from pylon.runners.errors import ConfigError, ConfigProblem
from pylon.runners.seeds import with_recorded_seeds, with_seed_of, without_recorded_seeds

# The place of a run, its monitor, its loggers, how its data are fetched, what of it is kept and what ends it
# with an error cannot change a number of it.
_WITHOUT_EFFECT = re.compile(
    r"work_dir|monitor|loggers"
    r"|(train|val|test)_dataloader\.args\."
    r"(num_workers|persistent_workers|pin_memory|prefetch_factor|multiprocessing_context|timeout_s)"
    r"|runner\.args\.(checkpointing|retention|rehearsal)"
    r"|runner\.args\.(early_stopping\.args\.undefined_score|stepping\.args\.skip_in_a_row)"
    # Of run directories that version 0.1 began.
    r"|runner\.args\.(checkpoint_every_steps|checkpoint_every_minutes|asynchronous_checkpoints)"
)
# What the test alone depends on, and what the first scores of a run depend on.
_TEST = re.compile(r"(test_dataset|test_dataloader|runner\.args\.predictions)(\..*)?")
_SCORES = re.compile(
    r"(val_dataset|val_dataloader|metric|runner\.args\.(score|tile_size|tile_overlap))(\..*)?"
)


_LONGEST_SHOWN = 300
ABSENT = "(absent)"


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
    places = set(_named_places(content))
    folders.leave_others({place if place.is_dir() else place.parent for place in places})
    for place in places:
        files.forget(place)  # read as it is now, and once for all of its classes
    config = with_classes(
        without_recorded_seeds(content) if isinstance(content, dict) else content, "", problems
    )
    if problems:
        raise ConfigError(source, problems)
    return with_present_arguments(config)


def differences(former: dict[str, Any], current: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Where two resolved configurations differ, apart from what cannot change a number of the run.

    Seeds that follow from `seed` are no differences of their own.

    Returns:
        (key path, former value, current value) each; '(absent)' means a missing key.
    """
    one, other = without_recorded_seeds(former), without_recorded_seeds(current)
    return _rows(with_seed_of(one, other), with_seed_of(other, one), "")


def _rows(former: Any, current: Any, key_path: str) -> list[tuple[str, Any, Any]]:  # noqa: ANN401 - JSON
    if isinstance(former, dict) and isinstance(current, dict):
        pairs = [(str(key), former.get(key, ABSENT), current.get(key, ABSENT)) for key in former | current]
    elif isinstance(former, list) and isinstance(current, list) and len(former) == len(current):
        pairs = [(str(number), *pair) for number, pair in enumerate(zip(former, current, strict=True))]
    else:
        return [] if former == current else [(key_path, former, current)]
    prefix = f"{key_path}." if key_path else ""
    return [
        row
        for key, old, new in pairs
        if not _WITHOUT_EFFECT.fullmatch(prefix + key)
        for row in _rows(old, new, prefix + key)
    ]


def without_results(key_path: str, *, validated: bool) -> bool:
    """Whether nothing that an unfinished run has done so far depends on a value of its configuration.

    Args:
        key_path: where the value is.
        validated: whether the run has validated an epoch.
    """
    return bool(_TEST.fullmatch(key_path) or (not validated and _SCORES.fullmatch(key_path)))


def difference_lines(changed: list[tuple[str, Any, Any]]) -> list[str]:
    """A line for people for each row of `differences`, in which no secret is shown."""
    lines = []
    for path, *values in changed:
        old, new = (value if value == ABSENT else masked(value, path) for value in values)
        another = "" if old != new else ", which is another one"
        lines.append(f"{path}: was {_shortened(old)}, now {_shortened(new)}{another}")
    return lines


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def _plain(value: Any) -> Any:  # noqa: ANN401 - any configuration value
    if isinstance(value, type | FunctionType):
        name = class_name(value)
        return name if isinstance(value, type) else {"function": name}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        plain = {key: _plain(element) for key, element in value.items()}
        if is_node(value) and isinstance(value["class"], FunctionType):
            plain["class"] = class_name(value["class"])
        return plain
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    return value


def with_classes(value: Any, key_path: str, problems: list[ConfigProblem]) -> Any:  # noqa: ANN401 - JSON
    """The value with the class that each node names; what cannot be found is added to `problems`."""
    if not isinstance(value, dict | list):
        return value
    if is_named_function(value):
        return _found(value["function"], f"{key_path}.function", problems)
    built = {
        key: with_classes(element, f"{key_path}.{key}".lstrip("."), problems)
        for key, element in children(value)
    }
    if isinstance(value, list):
        return list(built.values())
    if is_node(value) and isinstance(value["class"], str):
        built["class"] = _found(value["class"], f"{key_path}.class", problems)
    return built


def _found(name: str, key_path: str, problems: list[ConfigProblem]) -> Any:  # noqa: ANN401 - class or function
    try:
        return find_class(name)
    except LookupError as error:
        expected = f"cannot be found ({error}); expected 'module:Name' or 'path/to/file.py:Name'"
        problems.append(ConfigProblem(key_path, repr(name), expected))
        return name


def _named_places(content: Any) -> Iterator[Path]:  # noqa: ANN401 - JSON
    """The configuration files and folders in which the classes of `content` are."""
    named: str | None = None
    if isinstance(content, dict):
        key = "function" if is_named_function(content) else "class"
        named = content[key] if isinstance(content.get(key), str) else None
    place = None if named is None else place_of(named)
    if place is not None:
        yield place
    for _, element in children(content):
        yield from _named_places(element)
