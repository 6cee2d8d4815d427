"""Programs of Prometheus: skipped if absent, and an error if PYLON_REQUIRE_PROMETHEUS=1 is set."""

import os
import shutil

import pytest


def program(name: str) -> str:
    """Its path."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} is not installed (Debian's package prometheus)"
        if os.environ.get("PYLON_REQUIRE_PROMETHEUS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
