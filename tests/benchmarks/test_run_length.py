"""The benchmark of long runs in its tiny form: saves write as much early as late; the page has its rows."""

import re
from pathlib import Path

import pytest

from benchmarks import run_length

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_saves_and_epochs_write_the_same_early_and_late(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_length.main(["--scale", "0.001"]) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if "| " in line]
    flat = [
        row
        for row in rows
        if re.match("save |end of an epoch in a run|end of an epoch with 2 classes", row[0])
    ]
    assert len(flat) == 4
    for name, *cells in flat:
        written = [float(cell.split(", ")[1].removesuffix(" kB")) for cell in cells]
        assert max(written) - min(written) < 0.5, name
    shown = {re.sub(r"[\d,]+", "N", row[0]) for row in rows if row[0] and not row[0].startswith("---")}
    page = re.sub(r"[\d,]+", "N", PAGE.read_text(encoding="utf-8"))
    assert [name for name in shown if f"| {name} " not in page] == []
