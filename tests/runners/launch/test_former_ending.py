"""What the next launch reports of one that ended without noting how."""

import contextlib
import json
import logging
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pylon.monitor import Absence, OOMCount
from pylon.recorder.channel import start_ticks
from pylon.recorder.history import EndingRow, History, HistoryError, HistoryWriter, LaunchRow, open_history
from pylon.runners.errors import RunDirectoryError
from pylon.runners.launch.former_ending import (
    Evidence,
    ending_without_note,
    recorded_ending,
    report_former_ending,
)
from pylon.runners.launch.sign_of_life import RunProcess, SignOfLife
from pylon.runners.run_directory.directory import RunDirectory
from tests.runners.conftest import ENVIRONMENT, REPOSITORY, Toy
from tests.runners.run_directory.test_interrupted import failing

BOOTED, ALIVE, NOW = 1_000_000_000.0, 1_000_003_600.0, 1_000_007_200.0
GROUP = "/sys/fs/cgroup/memory/job"
HERE = Evidence(
    own=RunProcess(pid=50, host="gpu1", boot_id="boot-1", start_ticks=900),
    now_s=NOW,
    booted_s=BOOTED,
    start_ticks=lambda pid: None,
    oom_count=lambda group: OOMCount(group, inode=7, kills=2),
)
NOTED: dict[str, Any] = {
    "state": "running",
    "alive_at": "2001-09-09T02:46:40+00:00",
    "process": {"pid": 40, "host": "gpu1", "boot_id": "boot-1", "start_ticks": 300},
    "oom": {"group": GROUP, "inode": 7, "kills": 2},
}
PERIOD = "between 2001-09-09T02:46:40+00:00 and 2001-09-09T03:46:40+00:00"


def noted(**process: Any) -> dict[str, Any]:
    return {**NOTED, "process": {**NOTED["process"], **process}}


def test_launch_that_was_killed_has_its_period_and_no_cause_that_is_not_known() -> None:
    text = ending_without_note(NOTED, HERE)
    assert f"{PERIOD}: killed (SIGKILL)" in text
    assert "not likely that memory ran out: the OOM kills in its control group are 2, as before" in text


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (OOMCount(GROUP, 7, 3), "rose from 2 to 3 since its last sign of life: it is likely"),
        (OOMCount(GROUP, 8, 3), "Whether memory ran out is not known: its control group is gone"),
        (Absence.UNSUPPORTED, "Whether memory ran out is not known: its control group is gone"),
        (OOMCount(GROUP, 7, 1), "are 1, as before"),
    ],
)  # fmt: skip
def test_lack_of_memory_is_likely_only_if_the_same_group_has_counted_it(
    count: OOMCount | Absence, words: str
) -> None:
    assert words in ending_without_note(NOTED, replace(HERE, oom_count=lambda group: count))


def test_restart_of_the_machine_is_the_end_of_the_period() -> None:
    text = ending_without_note(noted(boot_id="boot-0"), replace(HERE, booted_s=ALIVE + 60))
    assert "between 2001-09-09T02:46:40+00:00 and 2001-09-09T02:47:40+00:00" in text
    assert "ended with the machine, which restarted at 2001-09-09T02:47:40+00:00" in text
    assert "memory" not in text, "the counters of before the restart are gone"


def test_launch_of_another_host_may_still_run_there() -> None:
    text = ending_without_note(noted(host="gpu2", boot_id="boot-9"), HERE)
    for words in (PERIOD, "process 40 on gpu2", "this is gpu1", "it may still run"):
        assert words in text


@pytest.mark.parametrize("content", [{"state": "running"}, {**NOTED, "process": 3, "oom": [], "alive_at": 5}])
def test_what_an_earlier_version_did_not_note_is_unknown(content: dict[str, Any]) -> None:
    text = ending_without_note(content, HERE)
    assert "at an unknown time before 2001-09-09T03:46:40+00:00: killed, or the machine ended" in text


def test_clock_that_is_behind_gives_no_period_that_ends_before_it_begins() -> None:
    assert "after 2001-09-09T02:46:40+00:00: killed" in ending_without_note(
        NOTED, replace(HERE, now_s=BOOTED)
    )


def test_process_number_that_another_process_has_taken_is_not_the_run(tmp_path: Path) -> None:
    taken = replace(HERE, start_ticks={40: 555}.get)
    assert ": killed (SIGKILL)" in ending_without_note(NOTED, taken)
    alive = replace(HERE, start_ticks={40: 300}.get)
    assert "its process 40 still exists" in ending_without_note(NOTED, alive)


def test_launch_that_still_runs_is_refused_where_no_lock_can_keep_this_one_out(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.state.write_text(json.dumps(NOTED))
    directory.missing_features = ["file locks (a second run in this directory would not be noticed)"]
    report_former_ending(directory, HERE)
    with pytest.raises(RunDirectoryError, match=r"process 40 of this machine .*--fresh"):
        report_former_ending(directory, replace(HERE, start_ticks={40: 300}.get))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"state": "failed", "ended_at": "T", "error": "loss is NaN\nmore"}, "failed at T: loss is NaN"),
        ({"state": "preempted", "ended_at": "T", "signal": "SIGTERM"}, "was stopped at T by SIGTERM"),
        ({"state": "preempted"}, "was stopped by a signal"),
    ],
)
def test_noted_end_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, state: dict[str, str], words: str
) -> None:
    (tmp_path / "state.json").write_text(json.dumps(state))
    with caplog.at_level(logging.INFO):
        report_former_ending(RunDirectory(tmp_path))
    assert caplog.messages == [f"the last launch {words}"]


def test_sign_of_life_names_the_process_and_grows_older_no_more_than_its_interval(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    life = SignOfLife(directory, every_s=0.01)
    life.begin()
    first = directory.state.stat().st_ino
    content = json.loads(directory.state.read_text())
    assert content["process"]["pid"] == os.getpid()
    assert content["process"]["start_ticks"] == start_ticks(os.getpid())
    until_s = time.monotonic() + 20
    while directory.state.stat().st_ino == first and time.monotonic() < until_s:
        threading.Event().wait(0.01)
    assert directory.state.stat().st_ino != first, "written again"
    life.end("finished", result={})
    assert json.loads(directory.state.read_text())["state"] == "finished"


class Hanging(RunDirectory):
    """A disk that keeps the second sign of life waiting."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reached, self.released = threading.Event(), threading.Event()
        self.writes = 0

    def write_state(self, state: str, **details: object) -> None:
        self.writes += 1
        if self.writes == 2:
            self.reached.set()
            assert self.released.wait(20)
        super().write_state(state, **details)


def test_sign_of_life_that_a_slow_disk_delays_is_never_written_over_the_end(tmp_path: Path) -> None:
    directory = Hanging(tmp_path)
    life = SignOfLife(directory, every_s=0.01)
    life.begin()
    assert directory.reached.wait(20), "the thread hangs in its write, and this one goes on"
    ending = threading.Thread(target=life.end, args=("finished",))
    ending.start()
    directory.released.set()
    ending.join(20)
    assert json.loads(directory.state.read_text())["state"] == "finished"
    writes = directory.writes
    threading.Event().wait(0.1)
    assert directory.writes == writes, "no sign of life after the end"


def test_sign_of_life_that_comes_too_late_is_not_written(tmp_path: Path) -> None:
    directory = Hanging(tmp_path)
    directory.released.set()
    life = SignOfLife(directory, every_s=0.01)
    life.begin()
    with life._lock:
        threading.Event().wait(0.2)  # the next sign of life waits for the lock
        life.stop()
        writes = directory.writes
    threading.Event().wait(0.2)
    assert directory.writes == writes


def test_sign_of_life_makes_no_directory_that_was_removed(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.root.mkdir()
    life = SignOfLife(directory, every_s=0.01)
    life.begin()
    shutil.rmtree(directory.root)
    threading.Event().wait(0.1)
    assert not directory.root.exists()
    life.end("failed")


@pytest.mark.slow
def test_launch_after_sigkill_reports_it(toy: Toy) -> None:
    assert toy.launch(failing(5, "SIGKILL")).returncode == -9
    before = json.loads((toy.work_dir / "state.json").read_text())
    (toy.work_dir / "config.json").unlink()
    ended = toy.launch()
    assert ended.returncode == 0, ended.stderr
    assert f"the last launch ended without noting how, between {before['alive_at']} and " in ended.stdout
    assert "killed (SIGKILL), or ended by a crash in native code" in ended.stdout
    assert "is likely that memory ran out" not in ended.stdout
    assert "the last launch ended" in (toy.work_dir / "train.log").read_text()


@pytest.mark.slow
def test_launch_after_a_recorded_sigkill_reports_what_the_recorder_saw(
    toy: Toy, caplog: pytest.LogCaptureFixture
) -> None:
    watched = "epochs=5000, monitor={'class': SystemMonitor, 'args': {'gpu': False}}"
    with subprocess.Popen(
        toy.command(watched), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        await_record(toy.work_dir, lambda history: bool(history.launches()))
        process.kill()
    await_record(toy.work_dir, lambda _: "died (critical): " in (toy.work_dir / "train.log").read_text())
    report_former_ending(RunDirectory(toy.work_dir))
    seen = r"ended at .*, as recorded: Killed by SIGKILL; the sender is not known \(confirmed\)\. "
    assert re.search(rf"the last launch {seen}`pylon report {toy.work_dir}`", caplog.text)


def await_record(run: Path, holds: Callable[[History], bool]) -> None:
    """Wait until it holds of the record: a recorder begins within a second, and ends 2 s after its run."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        with contextlib.suppress(HistoryError), open_history(run) as history:
            if holds(history):
                return
        threading.Event().wait(0.05)
    pytest.fail("it never held")


def test_end_in_the_record_of_another_launch_is_not_taken(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    with HistoryWriter(directory.record) as writer:
        launch = writer.begin(LaunchRow(began_at=1.0, kind="runner", pid=7, start_ticks=3))
        writer.end(EndingRow(launch, 2.0, "killed", "sigkill", "confirmed", "kernel", signal=9))
        writer.commit()
    own = RunProcess(7, "host", None, 3)
    assert "as recorded: Killed by SIGKILL" in (recorded_ending(directory, own) or "")
    assert recorded_ending(directory, replace(own, start_ticks=4)) is None
    assert recorded_ending(RunDirectory(tmp_path / "none"), own) is None


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A memory control group of 700 MiB, version 1."""
    group = Path("/sys/fs/cgroup/memory") / f"pylon-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(700 << 20))
    except OSError as error:
        pytest.skip(f"needs root and a version 1 memory cgroup: {error}")
    with contextlib.suppress(OSError):  # without accounting of swap
        (group / "memory.memsw.limit_in_bytes").write_text(str(700 << 20))
    yield group
    until_s = time.monotonic() + 10
    while (group / "cgroup.procs").read_text() and time.monotonic() < until_s:
        threading.Event().wait(0.05)
    group.rmdir()


@pytest.mark.slow
def test_launch_after_an_oom_kill_reports_that_memory_ran_out(
    make_toy: Callable[[str], Toy], small_group: Path
) -> None:
    toy = make_toy("toy")
    command = ["sh", "-c", f'echo $$ > {small_group}/cgroup.procs; exec "$@"', "sh"]
    killed = subprocess.run(
        [*command, *toy.command(failing(5, "fill memory"))], cwd=REPOSITORY, env=ENVIRONMENT,
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert killed.returncode == -9, killed.stderr
    assert "oom_kill 1" in (small_group / "memory.oom_control").read_text(), "the fault took effect"
    (toy.work_dir / "config.json").unlink()
    ended = toy.launch()
    assert ended.returncode == 0, ended.stderr
    assert "rose from 0 to 1 since its last sign of life: it is likely that memory ran out" in ended.stdout
