"""Settings of every test, and real image pairs if they are available: they are no part of the repository."""

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ("tests.races", "tests.other_users", "tests.no_threads")

# No example is judged by a clock: on a loaded machine one of many may take ten times as long as the others,
# and drawing the first ten may take more than the 30 s of `too_slow`. Each test has a time-out instead.
settings.register_profile("pylon", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pylon")

# What programs print must not depend on the terminal and the shell that the tests are started from.
_OF_THE_CALLER = ("PYTHONUNBUFFERED", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
for _name in _OF_THE_CALLER:
    os.environ.pop(_name, None)
os.environ["TERM"] = "xterm"

# So must their signals: nohup and a shell's background jobs have them ignored, which programs inherit. What
# has a handler here is set to its default in a program that is started, and this process still survives it.
for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


def pytest_collection_finish() -> None:
    """Leave what all tests have loaded out of each garbage collection: a run asks for several whole ones."""
    gc.collect()
    gc.freeze()


_NEXT_TO_REPOSITORY = Path(__file__).resolve().parents[2] / "shared/data/LEVIR_samples"


@pytest.fixture(autouse=True)
def own_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test records must not be in the record that a failed one has left open."""
    monkeypatch.delenv("PYLON_RECORDER", raising=False)


@pytest.fixture(scope="session")
def real_pairs() -> Path:
    """Folder with A, B and label: $PYLON_REAL_PAIRS, or one next to the repository.

    Without it the test is skipped, or fails if PYLON_REQUIRE_REAL_PAIRS=1 is set.
    """
    root = Path(os.environ.get("PYLON_REAL_PAIRS", _NEXT_TO_REPOSITORY))
    if not (root / "A").is_dir():
        reason = f"needs real image pairs in {root}; PYLON_REAL_PAIRS names another folder"
        if os.environ.get("PYLON_REQUIRE_REAL_PAIRS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return root
