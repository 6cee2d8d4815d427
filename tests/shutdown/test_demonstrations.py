"""The demonstrations of the original problem really show it, and Pylon really does not."""

import subprocess
import sys

import pytest

from tests.faults.harness import REPOSITORY
from tests.monitor.nvml_stand_in import StandIn
from tests.shutdown.demonstrations import End, Row

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> "subprocess.CompletedProcess[str]":
    # Skips where there is no C compiler to make the driver with.
    StandIn(tmp_path_factory.mktemp("stand_in"))
    command = [sys.executable, "-m", "tests.shutdown.demonstrations", "--seconds", "1", "--limit-s", "4"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False)


def line_of(shown: "subprocess.CompletedProcess[str]", monitor: str, number: int = 0) -> str:
    return [line for line in shown.stdout.splitlines() if line.startswith(monitor)][number]


def test_others_show_their_faults_and_pylon_shows_none(shown: "subprocess.CompletedProcess[str]") -> None:
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert shown.stderr == ""
    verdicts = {line: line.split()[-1] for line in shown.stdout.splitlines() if line.startswith("Pylon")}
    verdicts.pop("Pylon shows none of the faults; each of the others shows its own.")
    assert len(verdicts) == 7
    assert set(verdicts.values()) == {"-"}


@pytest.mark.parametrize("monitor", ["thread that polls", "process that polls"])
def test_busy_loop_takes_the_core_that_pylon_leaves_alone(
    shown: "subprocess.CompletedProcess[str]", monitor: str
) -> None:
    def share(of: str) -> float:
        return float(line_of(shown, of).split(" %")[0].split()[-1])

    assert share(monitor) > 2 * share("Pylon's worker, waiting")


def test_joined_thread_waits_for_a_reading_as_long_as_it_takes(
    shown: "subprocess.CompletedProcess[str]",
) -> None:
    hung = line_of(shown, "thread, joined: during a hung reading")
    assert "not in 4 s" in hung
    assert hung.endswith("FAULT")
    assert line_of(shown, "thread, joined: before the first sample").endswith("FAULT")


@pytest.mark.parametrize(
    ("monitor", "words"),
    [
        ("thread that reads through an executor", "cannot schedule new futures after interpreter shutdown"),
        ("daemon thread, closed by __del__", "ImportError: sys.meta_path is None"),
        ("daemon thread that prints, nobody reads", "SIGABRT"),
    ],
)
def test_error_at_interpreter_shutdown_is_really_seen(
    shown: "subprocess.CompletedProcess[str]", monitor: str, words: str
) -> None:
    assert words in line_of(shown, monitor)
    assert line_of(shown, monitor).endswith("FAULT")


@pytest.mark.parametrize(
    ("faulty", "expected", "surprising"),
    [
        (True, True, False),
        (False, False, False),
        (True, False, True),
        (False, True, True),
        (True, None, False),
    ],
)
def test_only_what_was_not_expected_is_a_surprise(
    faulty: bool, expected: bool | None, surprising: bool
) -> None:
    assert Row("monitor", (), faulty, expected).surprising is surprising


def test_end_by_a_signal_and_by_us_is_told_apart() -> None:
    assert [End(code, 0.0, [], "").code_text for code in (0, 3, -6, None)] == [
        "0",
        "3",
        "SIGABRT",
        "killed by us",
    ]


@pytest.mark.parametrize("wrong", [["--seconds", "0"], ["--limit-s", "1"], ["--seconds", "x"], ["more"]])
def test_wrong_command_line_is_refused(wrong: list[str]) -> None:
    command = [sys.executable, "-m", "tests.shutdown.demonstrations", *wrong]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "error" in done.stderr
