"""A process dies with its parent, and a watch on a process is not fooled by what comes after it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pylon.monitor.process import parent_death
from pylon.monitor.process.parent_death import ProcessWatch, call_process
from tests.faults.harness import wait_until

REPOSITORY = Path(__file__).resolve().parents[3]

# Prints the grandchild's pid once it has armed itself; ends at a line on standard input.
PARENT = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.readline()
"""
CHILD = """
import os, signal, time
from pylon.monitor.process.parent_death import die_with_parent
{before}
die_with_parent(os.getppid(), signal.{number})
print("armed", flush=True)
while True:
    time.sleep(100)
"""


class Family:
    """A parent process whose child has armed itself."""

    def __init__(self, number: str, before: str = "") -> None:
        self.parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, CHILD.format(number=number, before=before)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.parent.stdout is not None
        self.child = int(self.parent.stdout.readline())

    def end(self) -> None:
        for pipe in (self.parent.stdin, self.parent.stdout):
            assert pipe is not None
            pipe.close()
        self.parent.kill()
        self.parent.wait(10)
        if runs(self.child):
            os.kill(self.child, signal.SIGKILL)


@pytest.fixture
def family() -> Iterator[Callable[..., Family]]:
    made: list[Family] = []

    def make(*arguments: str) -> Family:
        made.append(Family(*arguments))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, None])
def test_child_dies_however_its_parent_ends(
    family: Callable[..., Family], number: str, blow: signal.Signals | None
) -> None:
    one = family(number)
    assert runs(one.child)
    if blow is not None:
        one.parent.send_signal(blow)
    else:
        assert one.parent.stdin is not None
        one.parent.stdin.close()
    wait_until(lambda: not runs(one.child), 10, "the child dies with its parent")


def test_child_that_is_stopped_is_killed_all_the_same(family: Callable[..., Family]) -> None:
    one = family("SIGKILL")
    os.kill(one.child, signal.SIGSTOP)
    one.parent.kill()
    wait_until(lambda: not runs(one.child), 10, "the stopped child is killed")


def test_child_that_only_wants_to_be_woken_lives_on_and_runs(family: Callable[..., Family]) -> None:
    one = family("SIGCONT")
    os.kill(one.child, signal.SIGSTOP)
    wait_until(lambda: state(one.child) == "T", 10, "the child is stopped")
    one.parent.kill()
    wait_until(lambda: state(one.child) == "S", 10, "the child is woken by its parent's death")


def test_wish_is_for_this_parent_and_not_for_one_that_died_before() -> None:
    """The parent is gone when the child arms: the kernel would send nothing any more."""
    code = """
import os, signal
from pylon.monitor.process.parent_death import die_with_parent
die_with_parent({parent}, signal.SIGKILL)
print("alive")
"""
    for parent, printed in ((os.getpid(), "alive\n"), (1 << 22, "")):
        command = [sys.executable, "-c", code.format(parent=parent)]
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


@pytest.fixture(params=["pidfd", "fallback"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With a pidfd where the kernel has one, and as in a container that forbids the call."""
    if request.param == "fallback":
        monkeypatch.setattr(parent_death, "_pidfd", lambda _pid: None)
    elif ProcessWatch(os.getpid()).descriptor is None:
        pytest.skip("this kernel or container has no pidfd_open")
    return str(request.param)


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait(10)


def test_watch_sees_a_process_run_and_end(way: str, sleeper: "subprocess.Popen[bytes]") -> None:
    watch = ProcessWatch(sleeper.pid)
    assert (watch.descriptor is None) == (way == "fallback")
    assert not watch.ended()
    sleeper.kill()
    wait_until(watch.ended, 10, "the end is seen, before anybody has waited for the process")
    assert state(sleeper.pid) == "Z"
    sleeper.wait(10)
    assert watch.ended()


@pytest.mark.usefixtures("way")
def test_stopped_process_has_not_ended(sleeper: "subprocess.Popen[bytes]") -> None:
    watch = ProcessWatch(sleeper.pid)
    sleeper.send_signal(signal.SIGSTOP)
    wait_until(lambda: state(sleeper.pid) == "T", 10, "it is stopped")
    assert not watch.ended()


@pytest.mark.usefixtures("way")
def test_look_does_not_wait(sleeper: "subprocess.Popen[bytes]") -> None:
    watch = ProcessWatch(sleeper.pid)
    begun = time.monotonic()
    for _ in range(100):
        watch.ended()
    assert time.monotonic() - begun < 1


def test_pid_that_was_given_to_another_process_is_not_the_watched_one(
    monkeypatch: pytest.MonkeyPatch, sleeper: "subprocess.Popen[bytes]"
) -> None:
    monkeypatch.setattr(parent_death, "_pidfd", lambda _pid: None)
    watch = ProcessWatch(sleeper.pid)
    monkeypatch.setattr(parent_death, "_start_time", lambda _pid: "another time")
    assert watch.ended()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("waited_for", [True, False])
def test_process_that_ended_before_the_watch_began_has_ended(
    sleeper: "subprocess.Popen[bytes]", waited_for: bool
) -> None:
    sleeper.kill()
    wait_until(lambda: state(sleeper.pid) == "Z", 10, "it has ended")
    if waited_for:
        sleeper.wait(10)
    assert ProcessWatch(sleeper.pid).ended()


def test_watch_sees_the_end_of_who_is_no_child_of_its_own(family: Callable[..., Family]) -> None:
    one = family("SIGKILL")
    watch = ProcessWatch(one.child)
    assert not watch.ended()
    one.parent.kill()
    wait_until(watch.ended, 10, "the end of a grandchild is seen")


@pytest.mark.parametrize(("name", "shown"), [("pylon-test", "pylon-test"), ("x" * 40, "x" * 15)])
def test_process_is_shown_under_its_name(name: str, shown: str) -> None:
    comm = Path("/proc/self/comm")
    former = comm.read_text().strip()
    try:
        call_process(name)
        assert comm.read_text().strip() == shown
    finally:
        call_process(former)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def runs(pid: int) -> bool:
    return state(pid) not in {"", "Z", "X"}
