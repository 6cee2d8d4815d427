"""A monitor of the user's own, from its name on the command line."""

import importlib
import sys
from pathlib import Path
from typing import Any

from pylon.monitor.base import BaseMonitor
from pylon.monitor.errors import MonitorSettingError

_FORM = "expected module:Class or path/to/file.py:Class"


def own_monitor(name: str) -> BaseMonitor[Any]:
    """The monitor that `name` means, made without arguments and not started.

    The folder of a file, or the working directory for a module, is put on the search path: the monitor's own
    process looks the class up there too.

    Args:
        name: 'module:Class' or 'path/to/file.py:Class'.

    Raises:
        MonitorSettingError: there is no such class, it is no monitor, or it cannot be made so.
    """
    place, _, class_name = name.rpartition(":")
    if not place or not class_name:
        raise MonitorSettingError(f"--monitor: {name!r}, {_FORM}.")
    path = Path(place)
    folder, module = (path.resolve().parent, path.stem) if path.suffix == ".py" else (Path.cwd(), place)
    if path.suffix == ".py" and not path.is_file():
        raise MonitorSettingError(f"--monitor: {name!r}: there is no file {path}.")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        found: Any = getattr(importlib.import_module(module), class_name)
    except Exception as error:  # a user's module may raise anything
        raise MonitorSettingError(
            f"--monitor: {name!r}: {type(error).__name__}: {error}. {_FORM}."
        ) from error
    if not (isinstance(found, type) and issubclass(found, BaseMonitor)):
        raise MonitorSettingError(f"--monitor: {name!r} is no monitor, expected a subclass of BaseMonitor.")
    try:
        return found()
    except Exception as error:  # as above
        raise MonitorSettingError(
            f"--monitor: {name!r} cannot be made without arguments: {type(error).__name__}: {error}. "
            "Give its arguments defaults."
        ) from error
