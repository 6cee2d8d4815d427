"""What the supervisor is started with."""

import os
import subprocess
import sys
import threading
from collections import UserDict
from multiprocessing import spawn
from pathlib import Path

import pytest

from pylon.monitor.process.supervisor_handle import environment, interpreter
from tests.faults.harness import REPOSITORY, without_late_readings


class Changing(UserDict):
    """An environment of which another thread takes a variable away while it is read."""

    def __iter__(self):
        return iter([*self.data, "GONE"])


def test_variable_that_is_gone_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    changing = Changing(HOME="/home/a", EMPTY="")
    with pytest.raises(KeyError, match="GONE"):
        dict(changing)
    monkeypatch.setattr(os, "environ", changing)
    assert environment() == {"HOME": "/home/a", "EMPTY": ""}


def test_thread_that_changes_the_environment_is_no_obstacle() -> None:
    ended = threading.Event()

    def change() -> None:
        while not ended.is_set():
            for number in range(64):
                os.environ[f"PYLON_TEST_{number}"] = "x"
            for number in range(64):
                del os.environ[f"PYLON_TEST_{number}"]

    before, interval = dict(os.environ), sys.getswitchinterval()
    changer = threading.Thread(target=change)
    sys.setswitchinterval(1e-5)
    changer.start()
    try:
        assert all(before.items() <= environment().items() for _ in range(200))
    finally:
        ended.set()
        changer.join()
        sys.setswitchinterval(interval)


@pytest.fixture
def executable(monkeypatch: pytest.MonkeyPatch):
    """Sets sys.executable as it is from the start of the program."""

    def set_executable(name: str | None) -> None:
        monkeypatch.setattr(sys, "executable", name)
        monkeypatch.setattr(spawn, "_python_exe", name)

    return set_executable


@pytest.mark.parametrize("name", ["/opt/x/bin/python", "/opt/python3.11", "/n/.python3-wrapped", "/a/pypy3"])
def test_interpreter_is_the_one_that_runs(name, executable) -> None:
    executable(name)
    assert interpreter() == name


@pytest.mark.parametrize("name", ["/usr/local/bin/uwsgi", "/opt/app/frozen", "", None])
def test_program_that_python_is_embedded_in_is_not_started_again(name, executable) -> None:
    executable(name)
    found = Path(interpreter())
    assert found.name == f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert os.access(found, os.X_OK)


def test_interpreter_that_the_user_names_is_taken(executable, monkeypatch) -> None:
    executable("/usr/local/bin/uwsgi")
    monkeypatch.setattr(spawn, "_python_exe", b"/opt/mine")
    assert interpreter() == "/opt/mine"


def test_no_interpreter_is_an_error_that_names_the_fix(executable, monkeypatch, tmp_path) -> None:
    executable("/opt/app/frozen")
    for prefix in ("prefix", "base_prefix"):
        monkeypatch.setattr(sys, prefix, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"'/opt/app/frozen'.*multiprocessing\.set_executable"):
        interpreter()


@pytest.mark.slow
def test_monitors_of_a_program_that_python_is_embedded_in() -> None:
    code = """
import sys
sys.executable = "/bin/false"
import time
from pylon.monitor import SystemMonitor
with SystemMonitor(interval_s=0.2, gpu=False) as watch:
    until = time.monotonic() + 20
    while "localhost" not in watch.latest().cpu and time.monotonic() < until:
        time.sleep(0.05)
    print(sorted(watch.latest().cpu), [one.last_error for one in watch.health().values()])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "['localhost'] [None, None]\n"
    assert without_late_readings(done.stderr) == ""
