"""A user's own monitor is seen everywhere that Pylon's own are: record, display, `once`, `watch`."""

import io
import json
import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from pylon.monitor import SystemMonitor, SystemSnapshot
from pylon.monitor.status.observation import Observation
from pylon.monitor.status.record import flat_values, observation_record, record_text
from pylon.monitor.status.values import Absence
from pylon.runners.outputs.display import PlainDisplay, Status, opened_display
from pylon.runners.outputs.step_log import Step, StepLog
from tests.faults.harness import wait_until
from tests.monitor.own_monitors import ScratchMonitor

REPOSITORY = Path(__file__).resolve().parents[2]
VALUES = {
    "used_percent": 43.25,
    "free_bytes": 1024,
    "mood": "calm",
    "disks.0.inodes": 7,
    "unknown": None,
    "broken": None,
}


def test_status_of_any_class_becomes_flat_values() -> None:
    assert flat_values(ScratchMonitor()._update_single_server("localhost")) == VALUES
    assert flat_values(7) == {"value": 7}
    assert flat_values({"a": [1, {"b": "x" * 999}], "c": object()}) == {"a.0": 1, "a.1.b": "x" * 200}
    assert len(flat_values(list(range(1000)))) == 64


def test_status_that_no_log_line_can_hold_is_cut() -> None:
    endless: list[object] = [1]
    endless += [endless, endless]
    assert set(flat_values(endless).values()) == {1}
    assert flat_values({"mask": 2**64 - 1, "digits": 10**5000}) == {"mask": 2**64 - 1, "digits": None}
    assert flat_values([object()] * 10**6) == {}


def test_what_is_not_current_has_its_reason_and_no_values() -> None:
    stale = Observation(7, 0.0, 3.0)
    assert observation_record(stale)["absence"] == "stale"
    assert observation_record(stale)["values"] == {}
    assert record_text(observation_record(stale), 3) == "stale"
    failed = Observation(None, None, 3.0, Absence.UNREACHABLE)
    assert observation_record(failed) == {"age_s": None, "absence": "unreachable", "values": {}}


@pytest.fixture(scope="module")
def record() -> dict[str, object]:
    """What a log line gets of a running monitor with others."""
    with SystemMonitor(interval_s=0.1, gpu=False, others=[ScratchMonitor(interval_s=0.1)]) as monitor:
        wait_until(
            lambda: (monitor.latest().others.get("ScratchMonitor") or {}).get("localhost") is not None,
            10,
            "it has reported",
        )
        return monitor.latest().as_record()


def test_log_record_has_it(record: dict[str, object]) -> None:
    others = json.loads(json.dumps(record))["others"]
    assert others["ScratchMonitor"]["localhost"]["values"] == VALUES
    assert others["ScratchMonitor"]["localhost"]["absence"] is None


@pytest.mark.slow
def test_metrics_file_has_it(tmp_path: Path) -> None:
    status = ScratchMonitor()._update_single_server("localhost")
    seen = Observation(status, time.monotonic(), 3.0)
    with StepLog(tmp_path / "metrics.jsonl", flush_every_steps=1) as log:
        log.add(
            Step(0, 0, 0, torch.tensor(0.5), 0.1, 0.2),
            SystemSnapshot(1, others={"ScratchMonitor": {"localhost": seen}}),
        )
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line["monitor"]["others"]["ScratchMonitor"]["localhost"]["values"] == VALUES


def test_record_without_others_is_flat() -> None:
    assert "others" not in SystemMonitor().latest().as_record()


def test_progress_display_has_it(record: dict[str, object], caplog: pytest.LogCaptureFixture) -> None:
    status = Status("train", 0, 1, 1, 2, monitor=record)
    with caplog.at_level(logging.INFO):
        PlainDisplay().show(status)
    assert "ScratchMonitor used_percent 43.25, free_bytes 1024" in caplog.text
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with opened_display(console) as display:
        display.show(status)
    assert "ScratchMonitor used_percent 43.25" in console.file.getvalue()  # type: ignore[attr-defined]


def test_progress_display_shows_any_text_as_it_is_and_names_servers() -> None:
    figures = {"age_s": 0.0, "absence": None, "values": {"path": "[/x] \x1b[2J"}}
    status = Status("train", 0, 1, 1, 2, monitor={"others": {"Mine": {"a": figures, "b": figures}}})
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with opened_display(console) as display:
        display.show(status)
    assert "Mine a path [/x] ?[2J; Mine b path [/x] ?[2J" in console.file.getvalue()  # type: ignore[attr-defined]


def command(*arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pylon.monitor", *arguments, "--no-gpu"],
        cwd=cwd,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def watch_until(text: str, *arguments: str, cwd: Path) -> str:
    """The first line of `watch` that has `text`; which picture that is depends on the machine's load."""
    lines = []
    with subprocess.Popen(
        [sys.executable, "-m", "pylon.monitor", "watch", "--interval-s", "0.3", "--count", "60", *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if text in line:
                process.terminate()
                return line
    raise AssertionError(f"{text!r} is in none of these lines: {lines}")


@pytest.mark.slow
def test_once_and_watch_show_it(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "tests/monitor/own_monitors.py", tmp_path / "mine.py")
    for name in ("mine:ScratchMonitor", "mine.py:ScratchMonitor", f"{tmp_path}/mine.py:ScratchMonitor"):
        done = command("once", "--monitor", name, cwd=tmp_path)
        assert "ScratchMonitor: used_percent 43.25, free_bytes 1024, mood calm" in done.stdout, done.stderr
    done = command("once", "--json", "--monitor", "mine:ScratchMonitor", cwd=tmp_path)
    assert json.loads(done.stdout)["others"]["ScratchMonitor"]["localhost"]["values"] == VALUES
    watch_until("ScratchMonitor: used_percent 43.25", "--monitor", "mine:ScratchMonitor", cwd=tmp_path)


@pytest.mark.slow
def test_one_that_fails_is_in_the_state_and_the_note(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "tests/monitor/own_monitors.py", tmp_path / "mine.py")
    line = watch_until("FailingMonitor unreachable", "--monitor", "mine:FailingMonitor", cwd=tmp_path)
    assert "localhost" in line
    assert "OSError: no such mount" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mine", "expected module:Class or path/to/file.py:Class"),
        ("nosuch:Mine", "ModuleNotFoundError: No module named 'nosuch'"),
        ("nosuch.py:Mine", "there is no file nosuch.py"),
        ("tests.monitor.own_monitors:Mood", "is no monitor, expected a subclass of BaseMonitor"),
        ("tests.monitor.own_monitors:Absent", "AttributeError"),
        ("tests.monitor.own_monitors:DemandingMonitor", "cannot be made without arguments: TypeError"),
    ],
)
def test_name_that_means_no_monitor_is_refused(name: str, reason: str) -> None:
    done = command("once", "--monitor", name)
    assert done.returncode == 2
    assert done.stderr.startswith(f"--monitor: {name!r}")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
