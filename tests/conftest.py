"""Settings of every test, and real image pairs where they are at hand: they are no part of the repository."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# On a loaded machine one example of many may take ten times as long as the others; each test has a time-out.
settings.register_profile("pylon", settings(), deadline=None)
settings.load_profile("pylon")

_BESIDE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared/data/LEVIR_samples"


@pytest.fixture(scope="session")
def real_pairs() -> Path:
    """Folder with A, B and label: $PYLON_REAL_PAIRS, or one beside the repository.

    Without it the test is skipped, or fails where PYLON_REQUIRE_REAL_PAIRS=1 is set.
    """
    root = Path(os.environ.get("PYLON_REAL_PAIRS", _BESIDE_REPOSITORY))
    if not (root / "A").is_dir():
        reason = f"needs real image pairs in {root}; PYLON_REAL_PAIRS names another folder"
        if os.environ.get("PYLON_REQUIRE_REAL_PAIRS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return root
