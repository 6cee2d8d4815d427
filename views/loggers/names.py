"""The loggers by name, and what is needed to use one."""

import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from typing import Any

from pylon.extras import absent_library
from pylon.views.loggers.contract import Logger, LoggerError

LOGGERS = {
    "tensorboard": "pylon.views.loggers.tensorboard:TensorBoardLogger",
    "wandb": "pylon.views.loggers.wandb:WandbLogger",
    "mlflow": "pylon.views.loggers.mlflow:MLflowLogger",
    "trackio": "pylon.views.loggers.trackio:TrackioLogger",
}


def class_of(name: str) -> type[Logger]:
    """The class of a logger.

    Args:
        name: one of LOGGERS, or 'module:Name' of a subclass of Logger.

    Raises:
        LoggerError: there is no such class.
    """
    module, _, qualname = LOGGERS.get(name, name).partition(":")
    expected = f"expected one of {', '.join(LOGGERS)}, or 'module:Name' of a class of your own"
    if not qualname:
        raise LoggerError(f"{name!r} is no logger: {expected}")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise LoggerError(f"{name!r} is not found ({error}): {expected}") from error
    if not isinstance(found, type) or not issubclass(found, Logger):
        raise LoggerError(f"{name!r} is no subclass of Logger: {expected}")
    return found


def name_of(cls: type[Logger]) -> str:
    """What `class_of` finds a class by: its short name, if it has one."""
    full = f"{cls.__module__}:{cls.__qualname__}"
    return next((name for name, one in LOGGERS.items() if one == full), full)


def file_name_of(name: str) -> str:
    """A logger's name as a part of file names."""
    return name.replace(":", ".").replace("/", ".")


def absence_of(cls: type[Logger]) -> str | None:
    """The library that a logger lacks, with the fix; None if it is installed. It is not imported."""
    if importlib.util.find_spec(cls.LIBRARY) is not None:
        return None
    return absent_library(cls.LIBRARY, cls.EXTRA, cls.__name__)


def refusal_of(cls: type[Logger], arguments: Mapping[str, Any]) -> str | None:
    """Why a logger does not take these arguments; None if it does."""
    accepted = inspect.signature(cls).parameters
    for name in arguments:
        if name not in accepted:
            return f"{cls.__name__} has no option {name!r}, expected one of: {', '.join(accepted)}"
    try:
        cls(**arguments)
    except (TypeError, ValueError) as error:
        return str(error)
    return None
