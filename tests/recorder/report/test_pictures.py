"""`pylon report --png`: a picture of each chart, and a clear error without matplotlib."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from pylon.command import main
from pylon.recorder.report.charts.grid import Grid, Level
from pylon.recorder.report.charts.line import Chart, Line, View
from pylon.recorder.report.pictures import write_pictures

NAN = float("nan")
LEVEL = Level([1.0, NAN, 2.0], [2.0, NAN, 3.0], [3.0, NAN, 4.0])
LINES = (
    Line("a", (LEVEL,)),
    Line("limit", (LEVEL,), kind="limit"),
    Line("dots", points=((1.0, 2.0), (2.0, 3.0)), kind="dots"),
)
CHARTS = (Chart("loss", "Loss", "", LINES), Chart("empty", "Empty", "bytes", (Line("none", (None,)),)))


@pytest.mark.slow
def test_picture_of_each_chart_with_a_value(tmp_path: Path) -> None:
    view = View("time", (Grid(0, 1, 3),), CHARTS)
    assert "1 pictures" in write_pictures([view], tmp_path / "pictures").replace("1 picture ", "1 pictures ")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["loss.png"]
    with Image.open(tmp_path / "pictures/loss.png") as picture:
        assert picture.size == (1280, 520)
        assert len(picture.convert("RGB").getcolors(100_000) or []) > 20, "something is drawn"


def test_without_matplotlib_the_text_comes_and_the_error_names_the_extra(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    assert main(["report", str(killed), "--png", str(tmp_path / "pictures")]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("Killed by the kernel")
    assert "--png needs matplotlib" in printed.err
    assert "[report]" in printed.err
