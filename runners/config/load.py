"""Read a configuration: the `config` dict of a Python file, or the `config.json` of a run directory."""

import json
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from pylon.runners.config import files
from pylon.runners.config.node import unshared
from pylon.runners.config.resolve import from_json
from pylon.runners.errors import ConfigError, ConfigProblem


def load_config(path: Path) -> dict[str, Any]:
    """The configuration in `path`, in which no value is shared between two entries.

    A Python file is executed as a module of its own, which loader workers find again (`files`); a
    JSON file is a resolved configuration.

    Raises:
        ConfigError: the file is absent, does not run, or has no `config` dict; with file and line.
    """
    if not path.is_file():
        raise ConfigError(
            path, [ConfigProblem("--config-filepath", repr(str(path)), "expected an existing file")]
        )
    config = (
        from_json(_read_json(path), path) if path.suffix == ".json" else vars(load_module(path)).get("config")
    )
    if not isinstance(config, dict):
        raise ConfigError(
            path,
            [ConfigProblem("config", type(config).__name__, "expected a dict named `config` in this file")],
        )
    copied: dict[str, Any] = unshared(config)
    return copied


def load_module(path: Path) -> ModuleType:
    """Execute a Python file as a module. Raises ConfigError with file and line where it fails."""
    if path.suffix != ".py":
        raise ConfigError(path, [ConfigProblem("file", repr(path.suffix), "expected a .py or .json file")])
    files.forget(path)
    try:
        return files.module_of(path)
    except Exception as error:
        problem = ConfigProblem(f"line {_line(error, path.resolve())}", None, _said(error))
        raise ConfigError(path, [problem]) from error


def _line(error: Exception, path: Path) -> int | str:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or "?"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return lines[-1] or "?" if lines else "?"


def _said(error: Exception) -> str:
    fix = ". Put the folder that it lies in into PYTHONPATH" if isinstance(error, ModuleNotFoundError) else ""
    return f"{type(error).__name__}: {error}{fix}"


def _read_json(path: Path) -> Any:  # noqa: ANN401 - whatever stands in the file
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(path, [ConfigProblem("file", None, f"is no JSON: {error}")]) from error
