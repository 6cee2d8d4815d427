"""Traps that monitors beside a run have fallen into, one by one; each is really set here.

Elsewhere: signals at every moment in tests/shutdown; start methods, guards and terminals in
test_environments; copies in test_copies; the driver's own in tests/monitor/test_nvml_*; containers
and first percentages in tests/monitor/test_cgroup and test_cpu_*.
"""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pylon.monitor import MonitorState, SystemMonitor
from tests.faults.harness import REPOSITORY, Trainer, wait_until
from tests.faults.misbehaving import Scripted
from tests.faults.stubborn import Deaf, LockHolder

pytestmark = pytest.mark.ci

QUICK: dict[str, Any] = {"interval_s": 0.1, "timeout_s": 0.5, "join_timeout_s": 1.0}
# 1.5 s is promised; the rest is two busy cores' scheduling.
STOP_WITHIN_S = 1.9
FREEZER = Path("/sys/fs/cgroup/freezer")


def timed(action: Callable[[], object]) -> float:
    before = time.monotonic()
    action()
    return time.monotonic() - before


def well(monitor: Any) -> Callable[[], bool]:
    return lambda: monitor.health().state is MonitorState.OK


@pytest.mark.parametrize("what", ["hold", "hold and die"])
def test_event_whose_lock_is_held_by_a_hung_or_killed_process(tmp_path: Path, what: str) -> None:
    control = tmp_path / "control"
    control.write_text("well")
    monitor = LockHolder(control, **QUICK)
    monitor.start()
    try:
        wait_until(well(monitor), 10, "it is read")
        control.write_text(what)
        wait_until(control.with_suffix(".held").exists, 5, "the lock is taken")
        control.write_text("well")
        wait_until(lambda: monitor.health().restarts > 0, 15, "the process is replaced, with a new Event")
        wait_until(well(monitor), 15, "it is read again")
        control.with_suffix(".held").unlink()
        control.write_text("hold")
        wait_until(control.with_suffix(".held").exists, 5, "the lock is taken again")
    finally:
        assert timed(monitor.stop) < STOP_WITHIN_S


def test_pipeline_around_a_killed_run_ends(tmp_path: Path) -> None:
    with Trainer(tmp_path) as trainer:
        trainer.wait_for("ready")
        os.kill(trainer.pid, signal.SIGKILL)
        assert trainer.process.stdout is not None
        # Its end comes only when nobody holds the pipe any more.
        before = time.monotonic()
        while trainer.process.stdout.read1(65536):
            pass
        assert time.monotonic() - before < 2


def test_child_that_ignores_sigterm_is_asked_warned_and_then_killed(tmp_path: Path) -> None:
    control = tmp_path / "control"
    control.write_text("well")
    with Deaf(control, **QUICK) as monitor:
        wait_until(well(monitor), 10, "it is read")
        pid = monitor.health().pid
        control.write_text("hang")
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10, "the process has ended")
        killed_s = time.time()
        note = control.with_suffix(".sigterm")
        assert note.read_bytes() == bytes([signal.SIGTERM])
        # SIGKILL on a client of a GPU driver can hang the GPU: there is time between the two.
        assert killed_s - note.stat().st_mtime > 0.4
        note.unlink()
        wait_until(note.exists, 10, "a new one has begun, which hangs too")
        assert timed(monitor.stop) < STOP_WITHIN_S


def test_process_that_cannot_be_killed_is_not_doubled_and_let_go_of_by_name(
    tmp_path: Path, frozen: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    control = tmp_path / "control"
    control.write_text("well")
    monitor = Scripted(control, **QUICK)
    monitor.start()
    wait_until(well(monitor), 10, "it is read")
    pid = monitor.health().pid
    assert pid is not None
    frozen(pid)
    wait_until(lambda: monitor.health().state is MonitorState.FAILED, 15, "it is seen to be unkillable")
    error = monitor.health().last_error
    assert error is not None
    assert error.kind == "unkillable"
    assert str(pid) in error.text
    assert monitor.health().pid == pid, "no second one is started beside it"
    assert timed(monitor.stop) < STOP_WITHIN_S
    assert Path(f"/proc/{pid}").exists(), "the fault is real: it is still there"
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert any(str(pid) in line and "left running" in line for line in told), told


def test_interpreter_exits_beside_a_process_that_cannot_be_killed(
    tmp_path: Path, frozen: Callable[[int], None]
) -> None:
    with Trainer(tmp_path, arguments=("--ending", "unstopped")) as trainer:
        pids = trainer.wait_for("ready")["pids"]
        frozen(pids["CPUMonitor"])
        trainer.end()
        trainer.wait_for("exiting")
        assert timed(trainer.exit_code) < STOP_WITHIN_S
        assert trainer.process.returncode == 0
        assert trainer.left_over() == [pids["CPUMonitor"]]
        assert "Traceback" not in trainer.stderr.read_text()


def test_monitors_outlive_the_thread_that_started_them() -> None:
    monitor = SystemMonitor(interval_s=0.1)
    starter = threading.Thread(target=monitor.start)
    starter.start()
    starter.join()
    try:
        wait_until(lambda: monitor.health()["CPUMonitor"].state is MonitorState.OK, 10, "it is read")
        pids = {name: one.pid for name, one in monitor.health().items()}
        sequence = monitor.latest().sequence
        wait_until(lambda: monitor.latest().sequence > sequence + 5, 10, "it is read on")
        assert pids == {name: one.pid for name, one in monitor.health().items()}
    finally:
        monitor.stop()


def test_worker_that_fails_at_once_is_not_restarted_in_a_tight_loop(tmp_path: Path) -> None:
    control = tmp_path / "control"
    control.write_text("fail at start")
    with Scripted(control, **QUICK) as monitor:
        wait_until(lambda: monitor.health().restarts >= 3, 30, "it is tried again")
        begun_s, before = time.monotonic(), monitor.health().restarts
        wait_until(lambda: time.monotonic() - begun_s > 3, 5, "three seconds pass")
        # A restart takes some 20 ms: without pauses there would be over a hundred.
        assert monitor.health().restarts - before < 15


def test_blocked_worker_is_reported_from_outside_and_its_last_value_kept(tmp_path: Path) -> None:
    control = tmp_path / "control"
    control.write_text("well")
    with Scripted(control, interval_s=0.1, timeout_s=1.0, join_timeout_s=1.0) as monitor:
        wait_until(well(monitor), 10, "it is read")
        pid = monitor.health().pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)

        def overdue() -> bool:
            health = monitor.health()
            return health.state is MonitorState.UNREACHABLE and (health.no_answer_for_s or 0) >= 1

        wait_until(overdue, 10, "the supervisor says since when there is no answer")
        seen = monitor.latest()["localhost"]
        assert seen.status is not None
        assert seen.current is None, "what is old is not shown as current"
        assert seen.absence is not None


def test_stopped_manager_stalls_no_look(tmp_path: Path) -> None:
    monitor = SystemMonitor(interval_s=0.1, timeout_s=1.0, join_timeout_s=1.0)
    with monitor:
        wait_until(lambda: monitor.health()["CPUMonitor"].state is MonitorState.OK, 10, "it is read")
        manager = monitor.health()["manager"].pid
        assert manager is not None
        os.kill(manager, signal.SIGSTOP)
        looks = []
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            looks.append(timed(lambda: (monitor.latest(), monitor.health())))
        assert sorted(looks)[len(looks) // 2] < 0.001
        wait_until(lambda: monitor.health()["manager"].pid not in {None, manager}, 15, "it is replaced")
        sequence = monitor.latest().sequence
        wait_until(lambda: monitor.latest().sequence > sequence + 3, 15, "reports come again")


def test_supervisor_that_fails_has_its_traceback_in_the_log(
    copy_first: Path, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = copy_first / "monitor/process/supervisor.py"
    sound = supervisor.read_text()
    broken = sound.replace("def _step(self, now: float)", "def _gone(self, now: float)")
    assert broken != sound
    supervisor.write_text(broken)
    with SystemMonitor(interval_s=0.1, join_timeout_s=1.0) as monitor:
        wait_until(lambda: "AttributeError" in caplog.text, 10, "the traceback is in the log")
        assert monitor.health()["CPUMonitor"].state is not MonitorState.OK


@pytest.fixture
def copy_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that a supervisor which starts from now on imports, and this process does not."""
    (tmp_path / "pylon").mkdir()
    for module in (REPOSITORY / "pylon").glob("*.py"):
        shutil.copy(module, tmp_path / "pylon")
    shutil.copytree(REPOSITORY / "monitor", tmp_path / "pylon" / "monitor")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "pylon"


def test_supervisor_that_cannot_start_is_explained_in_health_and_log(
    copy_first: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (copy_first / "monitor/process/supervisor.py").write_text("import a_missing_dependency\n")
    with SystemMonitor(interval_s=0.1, join_timeout_s=1.0) as monitor:
        wait_until(lambda: monitor.health()["CPUMonitor"].last_error is not None, 10, "it is noticed")
        error = monitor.health()["CPUMonitor"].last_error
        wait_until(lambda: "standard error" in caplog.text, 10, "it is in the log")
    assert error is not None
    assert "ModuleNotFoundError: No module named 'a_missing_dependency'" in error.text
    assert "Traceback (most recent call last)" in caplog.text


def test_supervisor_that_floods_its_standard_error_is_not_held_up(copy_first: Path) -> None:
    module = copy_first / "monitor/process/supervisor.py"
    flood = (
        "\nimport os as _os\nfor _ in range(300):\n    try:\n        _os.write(2, b'x' * 4096)\n"
        "    except OSError:\n        pass\n"
    )
    module.write_text(module.read_text() + flood)
    with SystemMonitor(interval_s=0.1, join_timeout_s=1.0) as monitor:
        wait_until(
            lambda: monitor.latest().cpu.get("localhost") is not None, 10, "reports come although it floods"
        )


@pytest.mark.parametrize("module", ["data", "models", "metrics", "monitor"])
def test_monitor_in_a_module_that_is_called_as_a_folder_of_ours(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{module}.py").write_text(
        "from pylon.monitor import BaseMonitor\n"
        "class Mine(BaseMonitor[int]):\n"
        "    def _update_single_server(self, server: str) -> int:\n        return 7\n"
    )
    program = (
        f"import time\nfrom {module} import Mine\n"
        "with Mine(interval_s=0.05) as mine:\n"
        "    for _ in range(200):\n"
        "        seen = mine.latest().get('localhost')\n"
        "        if seen is not None and seen.status: break\n"
        "        time.sleep(0.05)\n"
        "    print(seen.status, mine.health().last_error)\n"
    )
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "7 None\n", done.stderr


@pytest.fixture
def frozen() -> Iterator[Callable[[int], None]]:
    """Freeze a process by the version 1 freezer: SIGKILL has no effect on it until it is thawed."""
    group = FREEZER / f"pylon-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"needs root and a version 1 freezer cgroup to make a process unkillable: {error}")

    def freeze(pid: int) -> None:
        (group / "cgroup.procs").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")
        wait_until(lambda: (group / "freezer.state").read_text().strip() == "FROZEN", 5, "it is frozen")

    yield freeze
    (group / "freezer.state").write_text("THAWED")
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: not (group / "cgroup.procs").read_text(), 5, "the frozen process has ended")
    group.rmdir()
