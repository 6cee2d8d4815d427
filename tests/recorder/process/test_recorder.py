"""A recorded program: hangs, joined processes, replaced recorders, a directory that is gone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pylon.monitor import SystemMonitor
from pylon.recorder import Recorder
from pylon.recorder.channel import VARIABLE, start_ticks
from pylon.recorder.history import History, HistoryError, open_history


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[SystemMonitor]:
    monkeypatch.delenv(VARIABLE, raising=False)
    made = SystemMonitor(gpu=False, interval_s=0.2)
    yield made
    made.stop()


def started(path: Path, monitor: SystemMonitor, **settings: Any) -> Recorder:
    settings = {"kind": "loop", "uncaught": False, **settings}
    recorder = Recorder(path / "history.sqlite", monitor=monitor, **settings).start()
    monitor.start()
    wait_for(lambda: recorder.begun, "the launch is in the record")
    return recorder


def wait_for(condition: Callable[[], object], what: str, within_s: float = 15.0) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, f"not within {within_s} s: {what}"
        time.sleep(0.01)


def look(path: Path, at: Callable[[History], Any]) -> Any:
    try:
        with open_history(path / "history.sqlite") as history:
            return at(history)
    except HistoryError:
        return None


def marks(path: Path, kind: str) -> list[str]:
    return [one.detail or "" for one in look(path, lambda history: history.marks(1, kinds=[kind])) or []]


def test_a_hang_keeps_the_stack_of_every_thread_and_ends_with_the_next_step(
    tmp_path: Path, monitor: SystemMonitor
) -> None:
    recorder = started(tmp_path, monitor, hang_after_s=0.3)
    for number in range(5):
        recorder.sender.step(number, 0.01)
    wait_for(lambda: marks(tmp_path, "stack"), "the stacks are in the record")
    assert "test_recorder.py" in marks(tmp_path, "stack")[0]
    assert "wait_for" in (tmp_path / "stacks.txt").read_text()
    wait_for(lambda: look(tmp_path, lambda history: history.alerts(1)), "the alert")
    recorder.sender.step(6, 0.01)
    wait_for(lambda: len(marks(tmp_path, "hang")) == 2, "the end of the hang")
    assert "ended" in marks(tmp_path, "hang")[1]
    recorder.stop()


def test_a_recorder_that_is_killed_or_stopped_is_replaced_and_goes_on_with_the_launch(
    tmp_path: Path, monitor: SystemMonitor
) -> None:
    recorder = started(tmp_path, monitor, configuration={"lr": 1, "api_key": "s3cret-s3cret"})
    recorder.sender.mark("epoch", number=0)
    wait_for(lambda: marks(tmp_path, "epoch"), "the first mark")
    (first,) = recorder.processes - {monitor.supervisor_pid}
    os.kill(first, signal.SIGKILL)
    recorder.sender.mark("epoch", number=1)
    wait_for(lambda: len(marks(tmp_path, "epoch")) == 2, "the mark that came meanwhile")
    assert recorder.processes - {monitor.supervisor_pid} != {first}
    recorder.end("failed", error_type="ValueError", error="with s3cret-s3cret")
    recorder.stop()
    monitor.stop()
    launches = look(tmp_path, lambda history: history.launches())
    assert [one.name for one in launches] == [None]
    assert "s3cret" not in launches[0].configuration
    ending = look(tmp_path, lambda history: history.ending(1))
    assert (ending.state, ending.cause) == ("failed", "exception")
    assert "s3cret" not in ending.evidence


def test_monitors_that_are_stopped_first_leave_the_end_to_another_recorder(
    tmp_path: Path, monitor: SystemMonitor
) -> None:
    recorder = started(tmp_path, monitor)
    (first,) = recorder.processes - {monitor.supervisor_pid}
    monitor.stop()
    wait_for(lambda: start_ticks(first) is None, "the end of the recorder that ended with its monitors")
    assert look(tmp_path, lambda history: history.ending(1)) is None
    recorder.end("failed", error_type="ValueError", error="too late")
    recorder.stop()
    ending = look(tmp_path, lambda history: history.ending(1))
    assert (ending.state, ending.cause) == ("failed", "exception")
    assert len(look(tmp_path, lambda history: history.launches())) == 1


JOINING = """
import sys
from pylon.recorder import Recorder
with Recorder(sys.argv[1], kind="callback", name="inner") as recorder:
    assert recorder.joined
    recorder.sender.step(7, 0.5, epoch=3)
"""


def test_a_second_recorder_below_joins_the_first_and_writes_no_file(
    tmp_path: Path, monitor: SystemMonitor
) -> None:
    recorder = started(tmp_path, monitor)
    assert os.environ[VARIABLE] == recorder.address
    inner = tmp_path / "inner"
    subprocess.run([sys.executable, "-c", JOINING, str(inner / "history.sqlite")], check=True, timeout=60)
    wait_for(lambda: marks(tmp_path, "left"), "both marks")
    assert '"name": "inner"' in marks(tmp_path, "joined")[0]
    windows = look(tmp_path, lambda history: history.windows(1, 0, 1e12))
    assert [(one.first_step, one.epoch) for one in windows] == [(7, 3)]
    recorder.stop()
    assert not inner.exists()
    assert VARIABLE not in os.environ


def test_without_its_supervisor_it_records_on_and_a_new_one_takes_over(
    tmp_path: Path, monitor: SystemMonitor
) -> None:
    recorder = started(tmp_path, monitor)
    supervisor = monitor.supervisor_pid
    assert supervisor is not None
    (first,) = recorder.processes - {supervisor}
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: recorder.processes - {supervisor, monitor.supervisor_pid, first}, "another recorder")
    # In a container whose first process waits for no orphan, it stays a zombie.
    wait_for(lambda: start_ticks(first) is None, "the end of the first one")
    recorder.sender.mark("epoch", number=1)
    wait_for(lambda: marks(tmp_path, "epoch"), "a mark by the second one")
    recorder.stop()
    monitor.stop()
    assert look(tmp_path, lambda history: history.ending(1)).cause == "clean"


def test_a_removed_directory_does_not_disturb_the_program(tmp_path: Path, monitor: SystemMonitor) -> None:
    folder = tmp_path / "run"
    recorder = started(folder, monitor)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    recorder.sender.mark("epoch", number=1)
    time.sleep(0.5)
    folder.mkdir()
    recorder.stop()
    monitor.stop()
    wait_for(lambda: look(folder, lambda history: history.ending(1)), "the end")
    assert look(folder, lambda history: history.ending(1)).state == "finished"


def test_a_program_that_ends_at_once_is_in_its_record(tmp_path: Path, monitor: SystemMonitor) -> None:
    recorder = Recorder(tmp_path / "history.sqlite", kind="loop", monitor=monitor, uncaught=False).start()
    monitor.start()
    wait_for(lambda: monitor.supervisor_pid, "a supervisor, which has started nothing yet")
    assert not recorder.begun
    recorder.end("failed", error_type="ValueError", error="at the start")
    recorder.stop()
    monitor.stop()
    wait_for(lambda: look(tmp_path, lambda history: history.ending(1)), "the end")
    assert look(tmp_path, lambda history: history.ending(1)).cause == "exception"


def test_a_program_that_cannot_be_recorded_goes_on(
    tmp_path: Path, monitor: SystemMonitor, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    recorder = Recorder(tmp_path / "file" / "history.sqlite", kind="loop", monitor=monitor).start()
    recorder.sender.step(1, 0.1)
    recorder.stop()
    assert "is not recorded" in caplog.text
    assert recorder.sender.lost == 0


@pytest.mark.parametrize(("asked", "code"), [(3, 3), ("no data", 1), (-1, 255)])
def test_sys_exit_within_the_block_is_no_clean_end(
    tmp_path: Path, monitor: SystemMonitor, asked: object, code: int
) -> None:
    with pytest.raises(SystemExit), started(tmp_path, monitor) as recorder:
        assert recorder.begun
        sys.exit(asked)  # type: ignore[arg-type]
    wait_for(lambda: look(tmp_path, lambda history: history.ending(1)), "the end")
    ending = look(tmp_path, lambda history: history.ending(1))
    assert (ending.state, ending.cause, ending.exit_code) == ("failed", "exit_code", code)
