"""The libraries whose callbacks are tested with themselves."""

import importlib
import importlib.util
import os
import warnings
from types import ModuleType

import pytest


def require(name: str) -> ModuleType:
    """A library; without it the test is skipped, or fails if PYLON_REQUIRE_CALLBACKS=1 is set."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        reason = f"{name} is not installed: pip install '.[test-callbacks]'"
        if os.environ.get("PYLON_REQUIRE_CALLBACKS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with warnings.catch_warnings():
        # Their own: what they import is deprecated.
        warnings.simplefilter("ignore")
        return importlib.import_module(name)
