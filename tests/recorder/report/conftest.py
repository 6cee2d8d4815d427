"""A record of ten minutes, written once."""

from pathlib import Path

import pytest

from tests.recorder.synthetic import Run, write_history


@pytest.fixture(scope="session")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a run that was killed for memory; GPU 1 was lost before."""
    return write_history(tmp_path_factory.mktemp("killed") / "history.sqlite", Run())
