"""Where textual is not installed, tests of the screen are skipped, unless they are required."""

import os

import pytest


@pytest.fixture(scope="session")
def textual() -> None:
    if os.environ.get("PYLON_REQUIRE_TEXTUAL") == "1":
        import textual  # noqa: F401
    else:
        pytest.importorskip("textual", reason="the extra 'view' is not installed")
