"""The benchmark of reports runs in its quick form."""

import pytest

from benchmarks.recorder.report import main


@pytest.mark.slow
def test_reports_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick"])
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if "--html FILE" in line)
    assert row.rstrip(" |").endswith("MB")
