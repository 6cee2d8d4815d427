"""A plain loop that reports its steps."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pylon.recorder.callbacks.watch import Watch
from pylon.recorder.channel import VARIABLE
from pylon.recorder.history import open_history
from tests.recorder.callbacks.conftest import Recorded

REPOSITORY = Path(__file__).resolve().parents[3]


def test_steps_have_their_time_their_wait_and_their_loss(recorded: Recorded) -> None:
    watch = Watch()

    def slow_loader():
        for number in range(4):
            time.sleep(0.02)
            yield number

    for number in watch.batches(slow_loader()):
        time.sleep(0.01)
        watch.step(loss=10.0 - number, epoch=2)
    steps = recorded.read().steps
    assert [(one.number, one.loss, one.epoch) for one in steps] == [
        (number, 11.0 - number, 2) for number in range(1, 5)
    ]
    for one in steps:
        assert one.seconds is not None
        assert one.wait_s is not None
        assert 0.02 <= one.wait_s < one.seconds
        assert one.seconds >= 0.03


def test_time_of_validation_and_saves_is_no_steps_time(recorded: Recorded) -> None:
    watch = Watch()
    watch.step(1.0)
    watch.step(2.0)
    watch.mark("validation_begin", epoch=0)
    time.sleep(0.2)
    watch.mark("validation_end", epoch=0)
    watch.step(3.0)
    watch.mark("checkpoint_begin")
    time.sleep(0.2)
    watch.step(4.0)
    read = recorded.read()
    # What came before the first step is not known, nor when the save was over.
    assert [one.number for one in read.steps] == [1, 2, 3, 4]
    assert [one.seconds is None for one in read.steps] == [True, False, False, True]
    assert all(one.seconds is None or one.seconds < 0.1 for one in read.steps)
    assert recorded.kinds() == ["joined", "validation_begin", "validation_end", "checkpoint_begin"]


def test_step_is_noted_even_if_neither_its_time_nor_its_loss_is_known(recorded: Recorded) -> None:
    Watch().step(number=0)
    assert [(one.number, one.seconds, one.loss) for one in recorded.read().steps] == [(0, None, None)]


def test_failure_inside_is_reported_and_raised(recorded: Recorded, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="my own"), Watch().recording(tmp_path / "run") as watch:
        watch.step(1.0)
        raise ValueError("my own")
    assert recorded.kinds() == ["joined", "left"]
    (word,) = recorded.last_words()
    assert (word["error_type"], word["error"]) == ("ValueError", "my own")
    assert "test_watch.py" in str(word["last_lines"])
    # The program may catch it and go on: its state is not decided here.
    assert "state" not in word
    assert not (tmp_path / "run").exists(), "it joins, and writes nothing itself"


SCRIPT = """
import sys
from pylon.recorder import watch
for folder in ("fine", "failed", "left"):
    try:
        with watch.recording(folder):
            watch.step(1.0)
            watch.step(0.5)
            if folder == "failed":
                raise ValueError("my own")
            if folder == "left":
                sys.exit(3)
    except (ValueError, SystemExit):
        pass
"""


@pytest.mark.slow
def test_loop_that_records_itself_and_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    words = [sys.executable, "-c", SCRIPT]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for folder, state, text in (("fine", "finished", None), ("failed", "failed", "ValueError: my own")):
        with open_history(tmp_path / folder / "history.sqlite") as history:
            (launch,) = history.launches()
            ending = history.ending(launch.id)
        assert (launch.kind, launch.name) == ("loop", folder)
        assert ending is not None
        assert (ending.state, ending.source) == (state, "program")
        assert text is None or str(ending.traceback).rstrip().endswith(text)
    with open_history(tmp_path / "left") as history:
        ending = history.ending(1)
    assert ending is not None
    assert (ending.state, ending.cause, ending.exit_code) == ("failed", "exit_code", 3)


def test_without_a_recorder_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    watch = Watch()
    watch.step(loss=1.0)
    watch.mark("epoch", epoch=0)
    assert list(watch.batches([1, 2])) == [1, 2]


class Odd:
    def __float__(self) -> float:
        raise RuntimeError("no number")


def test_whatever_fails_is_logged_once_and_the_loop_goes_on(
    recorded: Recorded, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    watch = Watch()
    with caplog.at_level(logging.WARNING, "pylon.recorder"):
        for _ in range(3):
            watch.step(loss=Odd())
        watch.mark("own", value=Odd())
    (record,) = caplog.records
    assert "the training goes on" in record.getMessage()
    assert "no number" in record.getMessage()


def test_folder_that_cannot_be_made_costs_the_record_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "file").write_text("")
    done = []
    with Watch().recording(tmp_path / "file/run") as watch:
        watch.step(1.0)
        done.append(1)
    assert done == [1]
    assert "file/run" in caplog.text


def test_exception_that_ends_a_joined_program_is_noted_and_shown(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[object] = []
    monkeypatch.setattr(sys, "excepthook", lambda *of: shown.append(of[1]))
    before = sys.excepthook
    watch = Watch()
    watch.step(loss=1.0)
    error = RuntimeError("rank one broke")
    sys.excepthook(RuntimeError, error, None)
    assert shown == [error]
    (word,) = recorded.last_words()
    assert (word["error_type"], word["error"]) == ("RuntimeError", "rank one broke")
    assert "state" not in word, "a parent may go on"
    watch.end()
    assert sys.excepthook is before
