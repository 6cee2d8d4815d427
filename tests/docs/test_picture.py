"""README's picture is small, and its script follows the layout of a run's own pictures."""

import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image

from pylon.runners.outputs.pictures import draw_prediction

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts/draw_readme_picture.py"


def draw(*arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_each_panel_of_a_prediction_is_in_its_column(tmp_path: Path) -> None:
    shape = (448, 784)
    truth, prediction = torch.ones(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    images = (torch.zeros(3, *shape), torch.zeros(3, *shape))
    draw_prediction(tmp_path / "run/predictions/00000.png", images, truth, prediction)
    done = draw(tmp_path / "run", tmp_path / "picture.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "picture.png") as picture:
        drawn = picture.convert("RGB")
    column = drawn.width / 5
    middles = [drawn.getpixel((int(column * (number + 0.5)), 80)) for number in range(5)]
    assert middles[:4] == [(0, 0, 0), (0, 0, 0), (255, 255, 255), (0, 0, 0)]
    assert middles[4] == (50, 90, 230)  # missed


def test_run_without_predictions_is_refused(tmp_path: Path) -> None:
    done = draw(tmp_path)
    assert done.returncode == 2
    assert str(tmp_path / "predictions") in done.stderr
    assert "make run" in done.stderr


def test_committed_picture_is_small() -> None:
    picture = REPOSITORY / "docs/pictures/prediction.png"
    assert picture.stat().st_size < 150_000
