"""The benchmarks of the recorder in their quick forms, and what the page shows of them."""

from pathlib import Path

import pytest

from benchmarks.recorder import history, report, verdicts

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
