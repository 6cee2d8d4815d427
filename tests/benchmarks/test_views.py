"""The benchmarks of the live views in their quick form."""

import pytest

from benchmarks.views import __main__ as views
from benchmarks.views import terminal


def test_a_scrape_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    views.main(["--quick", "--parts", "metrics"])
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| 2 x 1 "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert int(cells[1]) > 40
    assert all(cell.endswith("ms") for cell in cells[4:])


@pytest.mark.slow
def test_the_page_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    views.main(["--quick", "--parts", "web"])
    rows = [line.strip("|").split("|") for line in capsys.readouterr().out.splitlines() if "| 2 x 8 " in line]
    assert [row[1].strip() for row in rows] == ["0", "2"]
    assert all(row[2].strip().endswith("ms") for row in rows)


@pytest.mark.ci
def test_the_screen_is_measured() -> None:
    found = terminal.measure(seconds=2.0, servers=4, gpus=2, keys=3)
    assert list(found.shares) == ["servers", "GPUs", "GPUs, filtered", "and sorted"]
    assert len(found.keys_s) == 3
    assert found.import_s > 0
    assert found.first_s > 0
    shares = [share for share, _ in found.shares.values()]
    # The kernel counts in ticks of 10 ms, of which two seconds of one view may have none.
    assert all(0 <= share < 200 for share in shares)
    assert sum(shares) > 0
    assert found.shares["servers"][1] > 0, "what has changed is drawn"


@pytest.mark.ci
def test_the_screen_is_measured_next_to_its_peers(capsys: pytest.CaptureFixture[str]) -> None:
    views.main(["--quick", "--parts", "peers"])
    rows = [
        line.strip("|").split("|") for line in capsys.readouterr().out.splitlines() if "| pylon watch" in line
    ]
    (row,) = rows
    assert float(row[1]) >= float(row[2]) > 0
