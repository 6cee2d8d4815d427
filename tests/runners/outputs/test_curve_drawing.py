"""The picture of the curves while a run goes on, which no step waits for and no fault of which ends a run."""

import functools
import logging
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pylon.runners.outputs import curve_drawing
from pylon.runners.outputs.curve_drawing import CurveDrawing
from pylon.runners.training import base_trainer
from tests.runners.conftest import Toy

pytestmark = pytest.mark.draws
HANGING = "import time; time.sleep(100)"


def history(epochs: int) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "training_loss": 1 / (1 + epoch), "validation": {"f1": None if epoch else 0.5}}
        for epoch in range(epochs)
    ]


def ended(drawing: CurveDrawing) -> subprocess.Popen[bytes]:
    process = drawing._process
    assert process is not None
    process.wait(30)
    return process


def test_picture_is_drawn_while_the_run_goes_on(tmp_path: Path) -> None:
    drawing = CurveDrawing(tmp_path / "curves.png", "f1", lambda: history(3), every_s=0)
    drawing.epoch_ended()
    assert not (tmp_path / "curves.png").exists(), "another process draws, and this one does not wait"
    assert ended(drawing).returncode == 0
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1000, 400)
    drawing.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_pictures_are_no_more_frequent_than_asked_and_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve_drawing, "_PROGRAM", HANGING)
    monkeypatch.setattr(curve_drawing, "_WAIT_S", 1.0)
    now = [0.0]
    drawing = CurveDrawing(
        tmp_path / "curves.png", "f1", lambda: history(3), every_s=30, clock=lambda: now[0]
    )
    drawing.epoch_ended()
    assert drawing._process is None, "a short run starts no process"
    now[0] = 30.0
    drawing.epoch_ended()
    first = drawing._process
    assert first is not None
    now[0] = 100.0
    drawing.epoch_ended()
    assert drawing._process is first, "it still draws"
    drawing.finish()
    assert first.returncode == -9, "one that hangs does not outlive the run"
    assert (tmp_path / "curves.png").exists()


class Unkillable(subprocess.Popen[bytes]):
    """As a process is that waits for a network volume."""

    def kill(self) -> None: ...


def test_process_that_cannot_be_killed_does_not_keep_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(curve_drawing, "_PROGRAM", HANGING)
    monkeypatch.setattr(curve_drawing, "_WAIT_S", 0.1)
    monkeypatch.setattr(subprocess, "Popen", Unkillable)
    drawing = CurveDrawing(tmp_path / "curves.png", "f1", lambda: history(3), every_s=0)
    drawing.epoch_ended()
    drawing.finish()
    assert "the process that draws it hangs" in caplog.text
    process, errors = drawing._process, drawing._errors
    assert process is not None
    assert errors is not None
    process.terminate()
    process.wait(20)
    errors.close()


def test_picture_that_cannot_be_written_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "curves.png" / "in the way").mkdir(parents=True)
    drawing = CurveDrawing(tmp_path / "curves.png", "f1", lambda: history(3), every_s=0)
    drawing.epoch_ended()
    assert ended(drawing).returncode == 1
    with caplog.at_level(logging.WARNING):
        drawing.epoch_ended()
        drawing.epoch_ended()
        assert drawing._process is None, "it is not tried again after each epoch"
        drawing.finish()
    first, last = caplog.messages
    assert "curves.png: is drawn at the end of the run only: IsADirectoryError" in first
    assert "could not be drawn: IsADirectoryError" in last


def test_interpreter_that_cannot_be_started_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "gone"))
    files = len([*Path("/proc/self/fd").iterdir()])
    drawing = CurveDrawing(tmp_path / "curves.png", "f1", lambda: history(3), every_s=0)
    drawing.epoch_ended()
    assert "is drawn at the end of the run only: FileNotFoundError" in caplog.text
    assert len([*Path("/proc/self/fd").iterdir()]) == files
    drawing.finish()
    assert (tmp_path / "curves.png").exists()


def test_run_directory_that_was_removed_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    drawing = CurveDrawing(tmp_path / "run/curves.png", "f1", lambda: history(3), every_s=0)
    shutil.rmtree(tmp_path / "run")
    drawing.epoch_ended()
    assert ended(drawing).returncode == 0
    assert not (tmp_path / "run").exists()
    drawing.finish()


def test_each_epoch_of_a_run_is_drawn_and_reports_its_expected_end(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_trainer, "CurveDrawing", functools.partial(CurveDrawing, every_s=0))
    monkeypatch.setattr(curve_drawing, "_WAIT_S", 60.0)  # on a loaded machine too
    monkeypatch.setattr(curve_drawing, "draw_curves", lambda *_: None)  # of this process
    toy.run()
    assert (toy.work_dir / "curves.png").exists(), "the process has drawn it, and not the end of the run"
    lines = [line for line in (toy.work_dir / "train.log").read_text().splitlines() if " epoch " in line]
    assert ["training ends in about" in line for line in lines if ": loss" in line] == [True, True, False]
