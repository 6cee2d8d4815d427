"""`--set key.path=value`: change values of a loaded configuration."""

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pylon.masking import masked
from pylon.runners.config.names import find_class
from pylon.runners.config.node import is_node, unshared
from pylon.runners.config.resolve import with_classes
from pylon.runners.errors import ConfigError, ConfigProblem
from pylon.runners.keys import absent_name, malformed_override, split_override


def apply_overrides(config: dict[str, Any], overrides: Sequence[str], source: Path | str) -> dict[str, Any]:
    """A copy of `config` with each override done.

    A value is read as JSON, else as a Python literal, else as text. A number in the path is a
    position in a list. A key that is not there may be added at the top level, of a stage too, and inside
    'args', where the check reports whether it belongs. A class is written as 'module:Name'.

    Raises:
        ConfigError: with every override that cannot be done.
    """
    changed: dict[str, Any] = unshared(config)
    problems: list[ConfigProblem] = []
    for override in overrides:
        parts = split_override(override)
        if parts is None:
            problems.append(malformed_override(override))
            continue
        key_path, text = parts
        problem = _set(changed, key_path, text)
        if problem is not None:
            problems.append(ConfigProblem(f"--set {key_path}", None, problem))
    if problems:
        raise ConfigError(source, problems)
    return changed


def parse_value(text: str) -> Any:  # noqa: ANN401 - whatever the text holds
    """JSON, else a Python literal, else the text itself."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text


def _set(config: dict[str, Any], key_path: str, text: str) -> str | None:
    """Do one override in place; what is wrong with it, or None."""
    *parents, last = key_path.split(".")
    container: Any = config
    walked: list[str] = []
    for key in parents:
        if not _has(container, key):
            return _unknown(container, key, walked)
        container = container[_position(container, key)]
        walked.append(key)
    in_a_stage = len(walked) == 2 and walked[0] == "stages"
    may_add = isinstance(container, dict) and (not walked or in_a_stage or walked[-1] == "args")
    if not may_add and not _has(container, last):
        return _unknown(container, last, walked)
    if last == "class" and is_node(container):
        try:
            container[last] = find_class(text)
        except LookupError as error:
            return f"{text!r} cannot be found ({error}); expected 'module:Name' or 'path/to/file.py:Name'"
        return None
    problems: list[ConfigProblem] = []
    container[_position(container, last)] = with_classes(parse_value(text), key_path, problems)
    return f"{problems[0].key_path} is {problems[0].value}: {problems[0].expected}" if problems else None


def _has(container: object, key: str) -> bool:
    if isinstance(container, dict):
        return key in container
    return isinstance(container, list) and key.isdigit() and int(key) < len(container)


def _position(container: object, key: str) -> Any:  # noqa: ANN401 - a key or an index
    return int(key) if isinstance(container, list) else key


def _unknown(container: object, key: str, walked: Sequence[str]) -> str:
    place = ".".join(walked) or "the configuration"
    if isinstance(container, list):
        last = len(container) - 1
        return f"{place} is a list: expected a position from 0 to {last}, not {key!r}"
    if not isinstance(container, dict):
        return f"{place} is {masked(container, place)!r} and has no {key!r} in it"
    return absent_name(place, key, [str(name) for name in container])
