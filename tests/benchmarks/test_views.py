"""The benchmarks of the live views in their quick form."""

import pytest

from benchmarks.views import __main__ as views


def test_a_scrape_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    views.main(["--quick", "--parts", "metrics"])
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| 2 x 1 "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert int(cells[1]) > 40
    assert all(cell.endswith("ms") for cell in cells[4:])


def test_the_page_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    views.main(["--quick", "--parts", "web"])
    rows = [line.strip("|").split("|") for line in capsys.readouterr().out.splitlines() if "| 2 x 8 " in line]
    assert [row[1].strip() for row in rows] == ["0", "2"]
    assert all(row[2].strip().endswith("ms") for row in rows)
