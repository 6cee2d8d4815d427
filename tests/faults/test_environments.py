"""Wherever a training program runs, its monitors work there and it ends as it would without them."""

import importlib.util
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.environments.running import REPOSITORY, Program, killed, process_state, run, wait_until
from tests.faults.harness import without_late_readings

pytestmark = pytest.mark.ci

# --- processes that the training program starts itself ---


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_training_that_starts_its_own_processes(tmp_path: Path, method: str) -> None:
    ended = run(tmp_path, method, script="start_methods.py")
    assert ended.printed.read_text() == "[0, 1, 4, 9]\n"
    children = ended.events("child")
    assert len(children) == 4
    assert {one["method"] for one in children} == {method}
    assert {one["child_of_trainer"] for one in children} == {method == "spawn"}
    # The monitor that went along with the jobs showed its last sample and was nobody's.
    assert all(one["sequence"] > 0 and one["state"] == "stopped" for one in ended.events("looked"))


@pytest.mark.parametrize(("ending", "code"), [("stopped", 0), ("unstopped", 0), ("os._exit", 4)])
def test_exit_with_loader_workers_alive(tmp_path: Path, ending: str, code: int) -> None:
    with Program(tmp_path / "run", script="loaders.py", arguments=(ending,)) as program:
        _workers_hold_our_pipes(program)
        program.end()
        assert program.exit_code() == code
        assert program.monitors_after() == []
        assert program.strange_lines() == []
        assert program.sampled()


def test_loader_workers_do_not_keep_monitors_alive(tmp_path: Path) -> None:
    with Program(tmp_path / "run", script="loaders.py", arguments=("stopped",)) as program:
        workers = _workers_hold_our_pipes(program)
        for pid in workers:
            # Else they notice the end of their parent themselves, and let go of the pipes.
            os.kill(pid, signal.SIGSTOP)
        killed(program, signal.SIGKILL)
        assert [process_state(pid) for pid in workers] == ["T", "T"]


def _workers_hold_our_pipes(program: Program) -> list[int]:
    program.wait_for("ready")
    training = program.wait_for("training", 60)
    looks = program.events("worker")
    assert looks
    for look in looks:
        assert len(set(training["ours"]) & set(look["pipes"])) > 3
        assert look["state"] == "stopped"
        assert look["sequence"] > 0
    workers: list[int] = training["workers"]
    assert [process_state(pid) in {"R", "S"} for pid in workers] == [True, True]
    return workers


def test_threads_that_fork_while_monitors_start_and_stop(tmp_path: Path) -> None:
    ended = run(tmp_path, "threads_that_fork")
    assert ended.wait_for("forked")["children"] > 10


def test_child_forked_while_the_host_is_started(tmp_path: Path) -> None:
    with Program(tmp_path / "run", arguments=("fork_while_the_host_starts",)) as program:
        child = program.wait_for("forked")["child"]
        program.wait_for("ready")
        assert process_state(child) == "S", "it lives on, and holds what it has inherited"
        program.end()
        assert program.exit_code() == 0
        assert program.monitors_after() == []
        assert process_state(child) == "S"
        assert program.strange_lines() == []


def test_training_killed_with_a_child_forked_while_the_host_is_started(tmp_path: Path) -> None:
    with Program(tmp_path / "run", arguments=("fork_while_the_host_starts",)) as program:
        child = program.wait_for("forked")["child"]
        wait_until(program.monitors, 5, "the host has begun")
        os.kill(program.pid, signal.SIGKILL)
        assert program.monitors_after() == []
        assert process_state(child) == "S"


# --- what stands in the script itself ---


@pytest.mark.parametrize("ending", ["stopped", "unstopped"])
def test_script_without_import_guard_runs_once(tmp_path: Path, ending: str) -> None:
    ended = run(tmp_path, ending, script="unguarded.py")
    assert [one["name"] for one in ended.events("ran")] == ["__main__"]


def test_monitors_that_cannot_be_sent_are_refused_with_the_reason(tmp_path: Path) -> None:
    with Program(tmp_path / "run", script="main_classes.py", arguments=("refused",)) as program:
        assert program.exit_code() == 0
        assert program.left_over_after() == []
        assert program.strange_lines() == []
        assert program.sampled()
    cases = {one["case"]: one for one in program.events("case")}
    assert {name: one["refused"] for name, one in cases.items()} == dict.fromkeys(cases, "MonitorClassError")
    for case in ("in main", "in function"):
        assert "Move the class to the top level of a module." in cases[case]["text"]
    for case in ("lambda", "thread", "generator", "argument of main"):
        assert "cannot be sent" in cases[case]["text"]
    assert len(cases) == 6
    (after,) = program.events("after")
    assert after["left"] == []
    assert after["threads"] == ["MainThread"]


def test_system_monitor_inherited_in_main(tmp_path: Path) -> None:
    with Program(tmp_path / "run", script="main_classes.py", arguments=("inherited",)) as program:
        program.wait_for("ready")
        assert program.exit_code() == 0
        assert program.left_over_after() == []
        assert program.strange_lines() == []


def test_parent_with_many_threads_and_much_memory(tmp_path: Path) -> None:
    with Program(tmp_path / "run", arguments=("many_threads",)) as program:
        assert program.exit_code(40) == 0
        assert program.left_over_after() == []
        assert program.strange_lines() == []
        assert program.sampled()
    (started,) = program.events("started")
    assert started["threads"] >= 51
    assert started["resident"] > 2**30
    # The aim is 0.05 s; two threads that fight for the interpreter make it more.
    assert started["median_s"] < 0.5


# --- streams, limits, folders, settings of the interpreter ---


@pytest.mark.parametrize(
    ("closed", "expected"),
    [
        ("0<&-", [True, False, False]),
        ("1>&-", [False, True, False]),
        ("2>&-", [False, False, True]),
        ("0<&- 1>&- 2>&-", [True, True, True]),
    ],
)
def test_standard_streams_closed(tmp_path: Path, closed: str, expected: list[bool]) -> None:
    ended = run(tmp_path, "silent", wrapper=("sh", "-c", f'exec "$@" {closed}', "sh"))
    assert ended.wait_for("streams")["closed"] == expected


def test_standard_streams_closed_later_and_the_host_lost(tmp_path: Path) -> None:
    ended = run(tmp_path, "no_standard_streams_later")
    assert ended.wait_for("fresh")["host"] != ended.wait_for("ready")["host"]


@pytest.mark.parametrize(
    ("unbuffered", "code"),
    # 120: the interpreter could not flush it. 1: the program's own exception.
    [("", 120), ("1", 1)],
)
def test_standard_output_is_a_broken_pipe(tmp_path: Path, unbuffered: str, code: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = run(tmp_path, "plain", stdout=writing, environment={"PYTHONUNBUFFERED": unbuffered})
    finally:
        os.close(writing)
    assert ended.process.returncode == code
    assert "BrokenPipeError" in ended.stderr.read_text()


def test_too_few_descriptors_fail_the_monitor_and_not_the_run(tmp_path: Path) -> None:
    with Program(tmp_path / "run", arguments=("few_descriptors",)) as program:
        assert program.exit_code(60) == 0, program.stderr.read_text()
        assert program.left_over_after() == []
        assert program.strange_lines() == []
        assert program.sampled()
    (tried,) = program.events("tried")
    assert tried["seen"][0][:2] == ["failed", "not_started"]
    errors = [error for _, error, _ in tried["seen"]]
    assert errors.count("not_started") > 5, "the limit was reached in different places"
    assert {after for _, _, after in tried["seen"]} == {"stopped"}
    assert tried["left"] == []


def test_monitor_comes_up_once_there_are_descriptors(tmp_path: Path) -> None:
    with Program(tmp_path / "run", arguments=("descriptors_come_back",)) as program:
        assert program.wait_for("refused")["state"] == "restarting"
        assert program.exit_code() == 0, program.stderr.read_text()
        assert program.left_over_after() == []
        assert program.strange_lines() == []
        assert program.sampled()


def test_no_thread_can_be_started(tmp_path: Path) -> None:
    with Program(tmp_path / "run", arguments=("no_threads",)) as program:
        assert program.exit_code() == 0, program.stderr.read_text()
        assert program.left_over_after() == []
        assert program.strange_lines() == []
    assert "start new thread" in program.wait_for("refused")["text"]
    failed = program.wait_for("failed")
    assert (failed["state"], failed["kind"]) == ("failed", "not_started")
    stopped = program.wait_for("stopped")
    assert stopped["state"] == "stopped"
    assert stopped["left"] == []


def test_too_few_processes_fail_the_monitor_and_not_the_run(tmp_path: Path) -> None:
    wrapper: tuple[str, ...] = ()
    if os.getuid() == 0:
        # For root there is no such limit; for its capabilities neither, but for those that read files.
        if shutil.which("setpriv") is None:
            pytest.skip("run as root without setpriv: the limit of processes does not hold for it")
        tmp_path.chmod(0o777)
        wrapper = ("setpriv", "--reuid=64321", "--clear-groups", "--inh-caps=-all,+dac_override")
        wrapper += ("--ambient-caps=-all,+dac_override", "--bounding-set=-sys_admin,-sys_resource")
    with Program(tmp_path / "run", arguments=("few_processes",), wrapper=wrapper) as program:
        assert program.exit_code(60) == 0, program.stderr.read_text()
        assert program.left_over_after() == []
        assert program.strange_lines() == []
        assert program.sampled()
    assert not program.wait_for("forked")["worked"]
    seen = program.wait_for("tried")["seen"]
    assert seen[0] == ["failed", "not_started"]
    assert seen[1] == ["restarting", "not_started"]
    assert seen[-1][0] == "ok"


def test_working_folder_is_gone(tmp_path: Path) -> None:
    ended = run(tmp_path, "folder_is_gone")
    assert ended.events("gone")


def test_working_folder_takes_no_file(tmp_path: Path) -> None:
    ended = run(tmp_path, "cannot_write", working_folder=Path("/proc"))
    assert ended.events("refused")


def test_search_path_of_odd_entries(tmp_path: Path) -> None:
    odd = os.fsdecode(b'/nowhere::{braces}:it\'s "quoted":\xff\xfe:relative')
    ended = run(tmp_path, "odd_search_path", environment={"PYTHONPATH": odd})
    searched = ended.wait_for("searched")["path"]
    assert "PosixPath('/a/path')" in searched
    assert any("\\udcff\\udcfe" in entry for entry in searched)


@pytest.mark.parametrize(
    ("flags", "environment"),
    [
        (("-I",), {}),
        (("-O",), {}),
        (("-X", "dev"), {}),
        ((), {"PYTHONWARNINGS": "error"}),
        (("-X", "dev", "-W", "error"), {"PYTHONTRACEMALLOC": "5"}),
        ((), {"TMPDIR": "/nowhere/at/all", "HOME": "/nowhere", "LC_ALL": "C", "PYTHONUTF8": "0"}),
    ],
    ids=["isolated", "optimised", "developer", "warnings", "developer-warnings", "no-temporary-folder"],
)
@pytest.mark.parametrize("name", ["plain", "unstopped"])
def test_interpreter_settings(
    tmp_path: Path, name: str, flags: tuple[str, ...], environment: dict[str, str]
) -> None:
    run(tmp_path, name, flags=flags, environment=environment)


# --- terminals and their absence ---


def test_nohup_goes_on_after_hangup(tmp_path: Path) -> None:
    def hang_up(program: Program) -> None:
        ready = program.wait_for("ready")
        for pid in (program.pid, *program.left_over()):
            os.kill(pid, signal.SIGHUP)
        program.end()
        assert program.wait_for("again")["worker" if program.watched else "host"] == ready.get("worker")

    run(tmp_path, "until_told", wrapper=("nohup",), act=hang_up)


def test_no_terminal_at_all(tmp_path: Path) -> None:
    run(tmp_path, "plain", wrapper=("setsid", "--wait"))


class Terminal:
    """A shell with job control in a terminal of its own, which runs a program in the foreground."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._shell, self._master = pty.fork()
        if self._shell == 0:
            os.chdir(REPOSITORY)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], program.full_environment)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def run(self) -> None:
        command = " ".join(f"'{part}'" for part in self.program.command)
        self.type(f"{command} 2>'{self.program.stderr}'\n")

    def code(self) -> int:
        # Typed only now: a key that sends a signal throws away what was typed before it.
        file = self.program.folder / "code"
        self.type(f"echo $? >'{file}'\n")
        wait_until(lambda: file.exists() and file.read_text().strip(), 20, "the program has ended")
        return int(file.read_text())

    def hang_up(self) -> None:
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        if self._master >= 0:
            os.close(self._master)
        os.kill(self._shell, signal.SIGKILL)
        os.waitpid(self._shell, 0)


class InTerminal(Program):
    """A program that the terminal's shell will start, not the test."""

    @property
    def pid(self) -> int:
        return int(self.events("ready")[0]["pid"])


@contextmanager
def in_terminal(folder: Path, name: str) -> Iterator[tuple[InTerminal, Terminal]]:
    program = InTerminal(folder / "run", arguments=(name,), wrapper=("sleep", "0"))
    # What is started here is only a name for the environment's mark.
    with program:
        program.wrapper = ()
        terminal = Terminal(program)
        try:
            terminal.run()
            program.wait_for("ready")
            yield program, terminal
        finally:
            terminal.close()


def test_ctrl_c_in_a_terminal_ends_training_and_hits_no_monitor(tmp_path: Path) -> None:
    with in_terminal(tmp_path, "interrupted") as (program, terminal):
        worker = program.events("ready")[0]["worker"]
        terminal.type("\x03")
        # Monitors went on while training put itself in order.
        assert program.wait_for("interrupted")["worker"] == worker
        assert terminal.code() == 128 + signal.SIGINT
        assert program.monitors_after() == []
        stderr = program.stderr.read_text()
        assert stderr.count("Traceback") == 1
        assert stderr.endswith("KeyboardInterrupt\n")
        assert program.sampled()


def test_ctrl_z_and_foreground_again(tmp_path: Path) -> None:
    with in_terminal(tmp_path, "until_told") as (program, terminal):
        ready = program.events("ready")[0]
        terminal.type("\x1a")
        wait_until(lambda: process_state(program.pid) == "T", 5, "training is stopped")
        assert [process_state(pid) for pid in (ready["host"], ready["worker"])] == ["S", "S"]
        terminal.type("fg\n")
        wait_until(lambda: process_state(program.pid) != "T", 5, "training goes on")
        program.end()
        assert program.wait_for("again")["worker"] == ready["worker"]
        assert terminal.code() == 0
        assert program.monitors_after() == []
        assert program.strange_lines() == []


def test_hangup_of_the_terminal(tmp_path: Path) -> None:
    with in_terminal(tmp_path, "until_told") as (program, terminal):
        pid = program.pid
        terminal.hang_up()
        wait_until(lambda: process_state(pid) in {"", "Z"}, 5, "training has ended by SIGHUP")
        assert program.monitors_after() == []
        assert program.strange_lines() == []
        assert program.sampled()


# --- other programs around it ---


_A_TEST = """
from tests.faults.environments.common import newer, ready, say, watch
import pytest

left = []

@pytest.fixture
def monitor():
    monitor = watch(gpu=True)
    yield monitor
    monitor.stop()

def test_watched(monitor, capfd):
    ready(monitor)
    assert capfd.readouterr() == ("", "")

def test_unstopped():
    left.append(watch())
    ready(left[0], "second")
    newer(left[0])
    say("tested")
"""


def test_inside_pytest_with_warnings_as_errors(tmp_path: Path) -> None:
    (tmp_path / "test_user.py").write_text(_A_TEST)
    environment = {"PYTHONPATH": str(REPOSITORY)}
    arguments = ("-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", str(tmp_path))
    program = PytestProgram(
        tmp_path / "run", environment, (*arguments, str(tmp_path / "test_user.py")), working_folder=tmp_path
    )
    with program:
        assert program.exit_code() == 0, program.printed.read_text()
        assert program.left_over_after() == []
        assert program.strange_lines() == []
        assert program.sampled()
    assert "2 passed" in program.printed.read_text()
    assert program.events("tested")


class PytestProgram(Program):
    @property
    def command(self) -> list[str]:
        return [sys.executable, "-X", "dev", "-m", "pytest", *self.arguments]


@pytest.mark.parametrize("ending", ["shutdown", "restart", "kill"])
def test_in_a_notebook_kernel(tmp_path: Path, ending: str) -> None:
    _require_kernel()
    # Connection files and settings of the kernel go where the test's files are.
    environment = {
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    with Program(tmp_path / "run", environment, (ending,), script="kernel_session.py") as program:
        ready = program.wait_for("ready", 60)
        first = program.wait_for("first cell")
        assert first["status"] == "ok"
        assert without_late_readings(first["printed"]) == ""
        interrupted = program.wait_for("interrupted")
        assert interrupted["error"] == "KeyboardInterrupt"
        assert program.wait_for("again")["worker"] == ready["worker"], "the interrupt has hit no monitor"
        if ending == "restart":
            program.wait_for("restarted", 60)
            assert program.monitors_after() == []
            program.end()
        assert program.exit_code() == 0
        assert program.left_over_after() == []
        assert program.strange_lines() == []
        assert program.sampled()


def _require_kernel() -> None:
    missing = [name for name in ("ipykernel", "jupyter_client") if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"needs a notebook kernel; not installed: {', '.join(missing)}"
        if os.environ.get("PYLON_REQUIRE_KERNEL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


# --- children of others, and others of this program ---


def _namespace() -> tuple[str, ...]:
    command = ("unshare", "--pid", "--fork", "--mount-proc")
    if os.getuid() != 0:
        command = ("unshare", "--user", "--map-root-user", *command[1:])
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no process namespace is permitted here: {tried.stderr.strip()}")
    return command


def test_as_first_process_of_a_namespace(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare of util-linux")
    ended = run(tmp_path, "adopts_orphans", "init", "end", wrapper=_namespace())
    assert ended.wait_for("ready")["pid"] == 1
    assert ended.events("reaped")
    assert ended.wait_for("left")["children"] == []


def test_first_process_of_a_namespace_is_killed(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare of util-linux")
    arguments = ("adopts_orphans", "init", "hold")
    with Program(tmp_path / "run", arguments=arguments, wrapper=_namespace()) as program:
        program.wait_for("ready")
        program.wait_for("reaped")
        first = [pid for pid in program.left_over() if not program._of_monitors(pid)]
        assert len(first) == 1
        killed(program, signal.SIGKILL, first[0])
        assert program.exit_code() != 0


def test_as_subreaper(tmp_path: Path) -> None:
    ended = run(tmp_path, "adopts_orphans", "subreaper", "end")
    assert ended.events("reaped")
    assert ended.wait_for("left")["children"] == []


def test_children_that_are_not_waited_for(tmp_path: Path) -> None:
    ended = run(tmp_path, "children_are_ignored")
    assert len(ended.events("fresh")) == 2
    assert ended.wait_for("stopped")["stop_s"] < 1.6


def test_blocked_signals_are_not_inherited(tmp_path: Path) -> None:
    ended = run(tmp_path, "signals_are_blocked")
    assert ended.events("fresh")


def test_training_that_waits_for_any_child(tmp_path: Path) -> None:
    ended = run(tmp_path, "waits_for_any_child")
    assert ended.wait_for("taken")["count"] > 1


def test_training_that_closes_all_descriptors(tmp_path: Path) -> None:
    ended = run(tmp_path, "closes_all_descriptors")
    closed = ended.wait_for("closed")
    assert len(closed["held"]) >= 5
    assert set(closed["numbers"]) & set(closed["held"]), "its own files got the monitor's numbers"
    assert all(ended.wait_for("used")["intact"])
