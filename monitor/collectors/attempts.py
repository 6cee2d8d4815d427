"""Readings that may fail: a value, or the reason why there is none."""

from collections.abc import Callable
from typing import TypeVar

import psutil

from pylon.monitor.status.values import Absence

Value = TypeVar("Value")

# psutil raises these too if a file of the kernel is not as it expects; an AssertionError among them.
_FAILURES = (OSError, psutil.Error, ValueError, RuntimeError, LookupError, AttributeError, AssertionError)


def attempt(read: Callable[[], Value]) -> Value | Absence:
    """What `read` returns, or why it could not be read."""
    try:
        return read()
    except _FAILURES as error:
        return reason(error)


def reason(error: Exception) -> Absence:
    """Why a value is absent, from the error that its reading raised."""
    if isinstance(error, PermissionError | psutil.AccessDenied):
        return Absence.DENIED
    if isinstance(error, psutil.NoSuchProcess | ProcessLookupError):
        return Absence.LOST
    if isinstance(error, FileNotFoundError | NotImplementedError | AttributeError):
        return Absence.UNSUPPORTED
    # EOPNOTSUPP: the kernel has the file, and the feature behind it switched off (as pressure often is).
    if isinstance(error, OSError) and error.errno == 95:
        return Absence.UNSUPPORTED
    return Absence.UNREACHABLE
