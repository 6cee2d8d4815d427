"""Read a configuration: the `config` dict of a Python file, or the `config.json` of a run directory."""

import hashlib
import importlib.util
import json
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from runners.config.node import unshared
from runners.config.resolve import from_json
from runners.errors import ConfigError, ConfigProblem

_MODULE_PREFIX = "pylon_config_file_"


def load_config(path: Path) -> dict[str, Any]:
    """The configuration in `path`, in which no value is shared between two entries.

    A Python file is executed as a module of its own, named after its absolute path, so that the
    classes it defines can be pickled; a JSON file is a resolved configuration.

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
    absolute = path.resolve()
    name = _MODULE_PREFIX + hashlib.sha256(str(absolute).encode()).hexdigest()[:16]
    spec = importlib.util.spec_from_file_location(name, absolute)
    if spec is None or spec.loader is None:
        raise ConfigError(path, [ConfigProblem("file", repr(path.suffix), "expected a .py or .json file")])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(
            path, [ConfigProblem(f"line {_line(error, absolute)}", None, _said(error))]
        ) from error
    return module


def is_config_module(name: str) -> bool:
    """Whether the module `name` was made by `load_module`."""
    return name.startswith(_MODULE_PREFIX)


def _line(error: Exception, path: Path) -> int | str:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or "?"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return lines[-1] or "?" if lines else "?"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _read_json(path: Path) -> Any:  # noqa: ANN401 - whatever stands in the file
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(path, [ConfigProblem("file", None, f"is no JSON: {error}")]) from error
