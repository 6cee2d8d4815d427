"""Read a configuration: the `config` dict of a Python file, or the `config.json` of a run directory."""

import json
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from pylon.runners.config import files, folders
from pylon.runners.config.imports import advice, old_import
from pylon.runners.config.node import unshared
from pylon.runners.config.resolve import from_json
from pylon.runners.errors import ConfigError, ConfigProblem
from pylon.runners.source import check_source


def load_config(path: Path) -> dict[str, Any]:
    """The configuration in `path`, in which no value is shared between two entries.

    A Python file is executed as a module of its own, which loader workers find again (`files`); modules
    next to it can be imported by their plain names (`folders`). A JSON file is a resolved configuration.

    Raises:
        ConfigError: the file is absent, does not run, or has no `config` dict; with file and line.
    """
    check_source(path)
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
    """Execute a Python file as a module. Raises ConfigError with file and line if it fails."""
    folders.leave_others({path.resolve().parent})
    files.forget(path)
    try:
        return files.module_of(path)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # sys.exit(0) in a file is no run that has succeeded
        problem = ConfigProblem(f"line {_line(error, path.resolve())}", None, _text(error, path.resolve()))
        raise ConfigError(path, [problem]) from error


def _line(error: BaseException, path: Path) -> int | str:
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return lines[-1] or "?" if lines else "?"


def _text(error: BaseException, path: Path) -> str:
    """The error, its place if that is a module next to the configuration, and what to do about it."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        frames.append((error.filename or "", error.lineno))
        text = f"{type(error).__name__}: {error.msg}"
    if isinstance(error, SystemExit):
        text = f"SystemExit: {error.code}; expected a file that runs to its end, without sys.exit()"
    file, line = next((frame for frame in reversed(frames) if _is_next_to(frame[0], path)), (str(path), None))
    place = "" if file == str(path) else f"in {file}, line {line}: "
    if not isinstance(error, ImportError):
        return place + text
    replacement, fix = old_import(error), advice(error)
    return place + (replacement or (text if fix is None else f"{text}. {fix}"))


def _is_next_to(file: str, path: Path) -> bool:
    """Whether `file` is the configuration `path`, or a module in its folder that it can import."""
    if file == str(path):
        return True
    if not Path(file).is_relative_to(path.parent):
        return False
    parts = Path(file).relative_to(path.parent).with_suffix("").parts
    return parts[0] != "pylon" and all(part.isidentifier() for part in parts)


def _read_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(path, [ConfigProblem("file", None, f"is not JSON: {error}")]) from error
