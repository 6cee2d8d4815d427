"""A run as views see it, from a record that is being written, has ended, or cannot be read."""

import json
import time
from pathlib import Path

import pytest

from pylon.recorder.history import EndingRow, HistoryWriter, LaunchRow, StepWindow, open_history
from pylon.views.sources.board import RunBoard
from pylon.views.sources.runs import RunNow, read_run
from tests.recorder.synthetic import Run, write_history

HERE_BEFORE = 100.0


def _elsewhere(began_at: float) -> LaunchRow:
    return LaunchRow(began_at=began_at, kind="runner", name="mine", host="another machine")


def _training(writer: HistoryWriter, began_at: float) -> int:
    """Two epochs of five, 40 s each, with one step a second that waits for half of it."""
    launch = writer.begin(_elsewhere(began_at))
    for second in range(int(HERE_BEFORE)):
        t = began_at + second
        if second % 40 == 0:
            writer.mark(launch, t, "epoch", {"epoch": second // 40, "epochs": 5, "step": 0})
        window = StepWindow(launch, t, 1.0, 1, second, second, second // 40, loss_n=1, non_finite=0)
        figures = {"step_mean": 1.0, "wait_mean": 0.5, "loss_mean": 1.0 / (1 + second)}
        for name in ("step", "wait", "loss"):
            figures |= {f"{name}_min": figures[f"{name}_mean"], f"{name}_max": figures[f"{name}_mean"]}
        writer.window(StepWindow(**{**_fields(window), **figures}))
    writer.mark(launch, t, "score", {"epoch": 1, "name": "f1", "value": 0.5, "is_best": True})
    writer.mark(launch, t, "checkpoint_begin", {"epoch": 2})
    writer.mark(launch, t, "checkpoint_end", {"epoch": 2})
    writer.commit()
    return launch


def _fields(window: StepWindow) -> dict[str, object]:
    return {name: getattr(window, name) for name in StepWindow.__slots__}


def _read(path: Path) -> RunNow:
    with open_history(path) as history:
        found = read_run(history, path)
    assert found is not None
    return found


def test_run_that_goes_on_is_shown_as_it_is_now(tmp_path: Path) -> None:
    path, began_at = tmp_path / "history.sqlite", time.time() - HERE_BEFORE
    with HistoryWriter(path) as writer:
        _training(writer, began_at)
        run = _read(path)
    assert (run.name, run.state, run.cause, run.doing) == ("mine", "running", "", "training")
    assert (run.epoch, run.epochs, run.step) == (2, 5, 99)
    assert run.step_s == pytest.approx(1.0)
    assert run.wait_s == pytest.approx(0.5)
    assert run.steps_per_s == pytest.approx(1.0, rel=0.1)
    assert run.loss == pytest.approx(1 / 85, rel=0.2), "the mean of the last 30 s"
    assert run.end_expected_at == pytest.approx(began_at + 200, abs=2)
    assert run.score == ("f1", 0.5)
    assert run.checkpoint_at == pytest.approx(began_at + 99)


def test_what_a_run_does_besides_steps_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with HistoryWriter(path) as writer:
        launch = _training(writer, time.time() - HERE_BEFORE)
        writer.mark(launch, time.time(), "validation_begin", {"epoch": 2})
        writer.commit()
        assert _read(path).doing == "validation"


def test_losses_that_come_after_the_last_step_hide_it_not(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with HistoryWriter(path) as writer:
        launch = _training(writer, time.time() - HERE_BEFORE)
        late = {"loss_min": 0.5, "loss_mean": 0.5, "loss_max": 0.5, "loss_n": 1, "non_finite": 0}
        writer.window(StepWindow(launch, time.time() - 1.0, 1.0, 0, epoch=2, **late))
        writer.commit()
        run = _read(path)
    assert (run.state, run.step, run.loss) == ("running", 99, pytest.approx(0.03, abs=0.02))


def test_unknown_is_none_and_never_0(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with HistoryWriter(path) as writer:
        with open_history(path) as history:
            assert read_run(history, path) is None
        writer.begin(_elsewhere(time.time()))
        writer.commit()
        run = _read(path)
    absent = (
        "epoch",
        "epochs",
        "step",
        "loss",
        "step_s",
        "wait_s",
        "steps_per_s",
        "end_expected_at",
        "score",
    )
    assert {name: getattr(run, name) for name in absent} == dict.fromkeys(absent)


def test_run_that_has_ended_has_its_cause(tmp_path: Path) -> None:
    run = _read(write_history(tmp_path / "history.sqlite", Run(seconds=100)))
    assert run.state == "killed"
    assert run.cause.startswith("Killed by the kernel")
    assert run.doing is None
    assert run.end_expected_at is None
    assert [one.rule for one in run.alerts] == ["memory_runs_out", "gpu_lost"]
    assert run.alerts_now == (), "of a run that has ended, no alert holds"


def test_board_reads_a_record_again_only_if_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def counted(path: Path) -> object:
        opened.append(path)
        return open_history(path)

    monkeypatch.setattr("pylon.views.sources.board.open_history", counted)
    write_history(tmp_path / "ended" / "history.sqlite", Run(seconds=20))
    board = RunBoard([tmp_path])
    for _ in range(3):
        (run,) = board.refresh().runs
    assert len(opened) == 1
    with HistoryWriter(tmp_path / "ended" / "history.sqlite") as writer:
        launch = writer.begin(_elsewhere(time.time()))
        writer.end(EndingRow(launch, time.time(), "finished", "clean", "confirmed", "program"))
    deadline = time.monotonic() + 20
    while run.launches == 1 and time.monotonic() < deadline:
        (run,) = board.refresh().runs
    assert (run.launches, run.state) == (2, "finished")
    assert len(opened) == 2


def test_running_runs_come_first_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_history(tmp_path / "ended" / "history.sqlite", Run(seconds=20))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "history.sqlite").write_text(json.dumps({"no": "record"}) * 100)
    (tmp_path / "now").mkdir()
    with HistoryWriter(tmp_path / "now" / "history.sqlite") as writer:
        _training(writer, time.time() - HERE_BEFORE)
        found = RunBoard([tmp_path, tmp_path / "absent"]).refresh()
    assert [run.state for run in found.runs] == ["running", "killed"]
    problems = "\n".join(found.problems)
    assert "broken" in problems
    assert "absent: does not exist" in problems
    assert len(found.problems) == 2


def test_of_too_many_runs_the_newest_are_shown(tmp_path: Path) -> None:
    for number in range(4):
        write_history(tmp_path / str(number) / "history.sqlite", Run(seconds=3, name=str(number)))
    found = RunBoard([tmp_path], most=3).refresh()
    assert len(found.runs) == 3
    assert found.left_out == 1
    assert "0" not in {run.name for run in found.runs}
