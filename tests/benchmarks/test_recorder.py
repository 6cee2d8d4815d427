"""The benchmarks of the recorder in their quick forms, and what the page shows of them."""

from pathlib import Path

import pytest

from benchmarks.recorder import deaths, history, report, verdicts
from benchmarks.recorder.death_readers import Answer, grade
from pylon.recorder.channel import VARIABLE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def test_a_tick_of_the_record_is_measured_at_each_part_of_a_run(tmp_path: Path) -> None:
    stages = history.measure(tmp_path, figures=3, ticks=300)
    assert [(one.share, one.ticks) for one in stages] == [(0.01, 3), (0.1, 30), (1.0, 300)]
    assert all(one.tick_s > 0 and one.file_bytes > 0 and one.draw_s > 0 for one in stages)


def test_page_has_every_run_that_was_built_for_the_verdict() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [one.name for one in verdicts.CASES if f"| {one.name} | `{one.expected}`" not in page] == []


@pytest.mark.slow
def test_reports_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    report.main(["--quick"])
    row = next(line for line in capsys.readouterr().out.splitlines() if "--html FILE" in line)
    assert row.rstrip(" |").endswith("MB")


@pytest.mark.parametrize(
    ("tool", "death", "says"),
    [
        ("Recorder", "exit 3", "Failed: the program ended with exit code 3 (confirmed)."),
        ("Recorder", "segfault", "Crashed: invalid memory access (SIGSEGV) (confirmed)."),
        ("pylon run", "exception", "Failed: the program ended with an exception (confirmed)."),
    ],
)
def test_what_can_be_read_after_a_death_is_quoted_and_graded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, death: str, says: str
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    seen = deaths.watch(tool, death, tmp_path)
    assert (seen.grade, seen.answer.quote) == ("right", says)
    assert seen.after_s is not None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer("status RUNNING", "running"), "wrong"),
        (Answer("exit_code 0", "well"), "wrong"),
        (Answer("status FAILED", "badly"), "partly"),
        (Answer("exit_code 3", "badly"), "right"),
        (Answer("exit_code 33", "badly"), "partly"),
        (Answer(), "nothing"),
    ],
)
def test_a_grade_needs_state_and_cause(answer: Answer, expected: str) -> None:
    assert grade(answer, well=False, cause=deaths.DEATHS["exit 3"].cause) == expected
