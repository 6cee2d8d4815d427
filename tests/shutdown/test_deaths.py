"""What the record says after real deaths of a program, its recorder and its supervisor."""

from pathlib import Path

import pytest

from pylon.recorder.endings import ending_by_reader
from pylon.recorder.history import open_history
from tests.shutdown.deaths import EXPECTED, Death, can_limit_memory, die

QUICK = ("sigkill", "exception", "segfault", "_exit 5", "_exit 0", "obeyed sigterm", "memory")
# A recorder writes the end within moments, and outlives the run by 2 s at most.
SOON_S = 2.0


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.ci) for name in EXPECTED],
)
def test_the_cause_of_each_death(name: str, tmp_path: Path) -> None:
    if name == "memory" and not can_limit_memory():
        pytest.skip("needs root and control groups of version 1 with memory")
    noted = die(Death(name, delay_s=0.05), tmp_path)
    assert noted.words == EXPECTED[name], noted
    assert noted.after_s < SOON_S
    assert noted.ending is not None
    assert noted.ending.certainty == ("likely" if name == "hang" else "confirmed")
    if name == "segfault":
        assert "ctypes" in (noted.ending.traceback or ""), "a crash keeps its stacks"


@pytest.mark.parametrize(
    "blow",
    [
        "recorder SIGSTOP",
        "supervisor SIGKILL",
        pytest.param("recorder SIGKILL", marks=pytest.mark.ci),
        pytest.param("recorder SIGTERM", marks=pytest.mark.ci),
    ],
)
@pytest.mark.parametrize("name", ["sigkill", pytest.param("exception", marks=pytest.mark.ci)])
def test_the_end_is_noted_whatever_happened_to_one_of_the_processes(
    name: str, blow: str, tmp_path: Path
) -> None:
    noted = die(Death(name, delay_s=0.1, blow=blow), tmp_path)
    assert noted.words == EXPECTED[name], noted
    assert noted.ending is not None
    if blow == "supervisor SIGKILL":
        assert "supervisor was ended too" in (noted.ending.evidence or "")
    if blow == "recorder SIGTERM":
        assert "the recorder itself got SIGTERM" in (noted.ending.evidence or "")


def test_if_the_recorder_and_its_supervisor_died_too_the_next_reader_sees_it(tmp_path: Path) -> None:
    noted = die(Death("sigkill", delay_s=0.1, blow="both SIGKILL"), tmp_path, within_s=SOON_S)
    assert noted.ending is None
    with open_history(tmp_path / "history.sqlite") as history:
        (launch,) = history.launches()
        ending = ending_by_reader(launch, history.last_sample_at())
    assert ending is not None
    assert (ending.state, ending.cause, ending.source) == ("unknown", "recorder_lost", "next reader")
