"""Copies of a monitor are inert, wherever they come from; and stop can be called from anywhere, for ever."""

import copy
import gc
import os
import pickle
import signal
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pylon.monitor import MonitorState, SystemMonitor
from tests.faults.environments.own_monitors import AlwaysSeven
from tests.faults.environments.running import Program, run, wait_until
from tests.faults.harness import _MARK, marked

pytestmark = pytest.mark.ci

# join_timeout_s is 1 s in all of them, so 1.5 s is promised; the rest is two busy cores' scheduling.
STOP_WITHIN_S = 1.5 + 0.4


@pytest.fixture(autouse=True)
def mark(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[str]:
    """Every process that the test itself starts carries it; none is left, and nothing was printed."""
    value = uuid.uuid4().hex
    monkeypatch.setenv(_MARK, value)
    yield value
    wait_until(lambda: not list(marked(value)), 2.0, "no process is left")
    assert [line for line in capfd.readouterr().err.splitlines() if not line.startswith("monitor ")] == []


Monitor = SystemMonitor | AlwaysSeven


def new(kind: str) -> Monitor:
    if kind == "system":
        return SystemMonitor(interval_s=0.1, join_timeout_s=1.0, gpu=False)
    return AlwaysSeven(join_timeout_s=1.0)


def newest(monitor: Monitor) -> Any:
    """The newest status of this machine; None before the first."""
    shown = monitor.latest()
    seen = (shown if isinstance(monitor, AlwaysSeven) else shown.cpu).get("localhost")  # type: ignore[union-attr]
    return None if seen is None else seen.status


def state(monitor: Monitor) -> MonitorState:
    health = monitor.health()
    return health["CPUMonitor"].state if isinstance(health, dict) else health.state


def until_sampled(monitor: Monitor) -> None:
    wait_until(
        lambda: newest(monitor) is not None and state(monitor) is MonitorState.OK, 15, "the first sample"
    )


def until_newer(monitor: Monitor) -> None:
    former = monitor.latest()
    wait_until(lambda: monitor.latest() is not former, 10, "a newer sample")


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


WAYS = pytest.mark.parametrize("copied", [copy.deepcopy, pickled], ids=["deepcopy", "pickle"])
KINDS = pytest.mark.parametrize("kind", ["system", "own"])


@WAYS
@KINDS
def test_copies_at_each_stage_of_life(mark: str, kind: str, copied: Callable[[Any], Any]) -> None:
    original = new(kind)
    early = copied(original)
    assert state(early) is MonitorState.STOPPED
    early.stop()
    original.start()
    starting = copied(original)
    until_sampled(original)
    running = copied(original)
    host = original._client.supervisor_pid  # type: ignore[union-attr]
    processes = set(marked(mark))
    assert newest(running) is not None
    for one in (starting, running):
        shown = one.latest()
        assert state(one) is MonitorState.STOPPED
        one.stop()
        one.start()
        assert state(one) is MonitorState.STOPPED
        with one:
            assert one.latest() is shown
        # A copy of a copy is one too.
        assert state(copied(one)) is MonitorState.STOPPED
    until_newer(original)
    assert original._client.supervisor_pid == host  # type: ignore[union-attr]
    assert set(marked(mark)) == processes
    original.stop()
    late = copied(original)
    assert newest(late) == newest(original)
    late.start()
    late.stop()
    assert state(late) is MonitorState.STOPPED
    del early, starting, running, late
    gc.collect()


@WAYS
@KINDS
def test_copy_made_before_the_start_is_a_monitor_of_its_own(
    mark: str, kind: str, copied: Callable[[Any], Any]
) -> None:
    original = new(kind)
    second = copied(original)
    original.start()
    second.start()
    until_sampled(original)
    until_sampled(second)
    assert original._client.supervisor_pid != second._client.supervisor_pid  # type: ignore[union-attr]
    second.stop()
    until_newer(original)
    assert state(original) is MonitorState.OK
    original.stop()


@KINDS
def test_use_after_stop(mark: str, kind: str) -> None:
    monitor = new(kind)
    monitor.stop()
    monitor.start()
    until_sampled(monitor)
    monitor.stop()
    last = monitor.latest()
    for _ in range(2):
        monitor.start()
        with monitor:
            assert state(monitor) is MonitorState.STOPPED
        monitor.stop()
    assert monitor.latest() is last
    assert newest(monitor) is not None
    if isinstance(monitor, SystemMonitor):
        monitor.release()
        monitor.resume()
        assert monitor.latest().as_record().keys() == last.as_record().keys()  # type: ignore[union-attr]
    assert list(marked(mark)) == []


def test_stop_from_many_threads_at_once(mark: str) -> None:
    monitor = new("system")
    monitor.start()
    until_sampled(monitor)
    together = threading.Barrier(16)
    took_s: list[float] = []

    def stop() -> None:
        together.wait()
        begun_s = time.perf_counter()
        monitor.stop()
        took_s.append(time.perf_counter() - begun_s)
        # Whoever's call it was: nobody returns before the end.
        assert state(monitor) is MonitorState.STOPPED

    threads = [threading.Thread(target=stop) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took_s) == 16
    assert max(took_s) < STOP_WITHIN_S


def test_stop_from_many_threads_while_the_host_is_stuck(mark: str) -> None:
    monitor = new("system")
    monitor.start()
    until_sampled(monitor)
    os.kill(monitor._client.supervisor_pid, signal.SIGSTOP)  # type: ignore[union-attr,arg-type]
    took_s: list[float] = []

    def stop() -> None:
        begun_s = time.perf_counter()
        monitor.stop()
        took_s.append(time.perf_counter() - begun_s)

    threads = [threading.Thread(target=stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The fault took effect: an unhindered stop takes a tenth of this.
    assert max(took_s) > 0.9
    assert max(took_s) < STOP_WITHIN_S
    assert state(monitor) is MonitorState.STOPPED


def test_two_monitors_at_once(mark: str) -> None:
    one, other = new("system"), new("system")
    with one, other:
        until_sampled(one)
        until_sampled(other)
        assert one._client.supervisor_pid != other._client.supervisor_pid  # type: ignore[union-attr]
        one.stop()
        until_newer(other)
        assert state(other) is MonitorState.OK
        assert state(one) is MonitorState.STOPPED


def test_twenty_monitors_in_a_row_leave_nothing(mark: str) -> None:
    with new("own") as first:
        # What a first monitor keeps for all later ones is no leak.
        until_sampled(first)
    del first
    before = _held()
    alive: list[weakref.ref[Monitor]] = []
    for number in range(20):
        monitor = new("own" if number % 2 else "system")
        alive.append(weakref.ref(monitor))
        monitor.start()
        if number % 5 == 0:
            until_sampled(monitor)
        monitor.stop()
        assert state(monitor) is MonitorState.STOPPED
        del monitor
    assert _held() == before
    # Neither a thread nor a function for the exit keeps one.
    assert [one for one in alive if one() is not None] == []
    assert list(marked(mark)) == []
    assert [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE] == []


def _held() -> tuple[list[str], list[str]]:
    gc.collect()
    descriptors = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Path keeps a descriptor of the folder too
    threads = sorted(thread.name for thread in threading.enumerate())
    return descriptors, threads


# --- programs that fork, and that stop in odd places ---


@pytest.mark.parametrize("flags", [(), ("-X", "dev")], ids=["default", "developer"])
def test_forked_children_use_the_monitor_and_end(tmp_path: Path, flags: tuple[str, ...]) -> None:
    ended = run(tmp_path, "forked", script="copies.py", flags=flags)
    codes = {one["ending"]: one["code"] for one in ended.events("ended")}
    assert codes == {"falls off the end": 0, "sys.exit": 5, "os._exit": 6, "killed": -signal.SIGKILL}
    copies = ended.events("copy")
    assert len(copies) == 4
    assert {state for one in copies for state in one["states"].values()} == {"stopped"}
    assert all(one["same"] and one["sequence"] > 0 for one in copies)
    (ready,), (again,) = ended.events("ready"), ended.events("again")
    assert (again["host"], again["worker"]) == (ready["host"], ready["worker"])


def test_forked_child_watches_itself(tmp_path: Path) -> None:
    ended = run(tmp_path, "forked_with_its_own", script="copies.py")
    assert [one["code"] for one in ended.events("ended")] == [7]
    (ready,), (own,) = ended.events("ready"), ended.events("own")
    assert own["host"] != ready["host"]


def test_forked_before_the_start(tmp_path: Path) -> None:
    ended = run(tmp_path, "forked_before_the_start", script="copies.py")
    assert [one["code"] for one in ended.events("ended")] == [7]
    assert len({one["host"] for one in ended.events("own")}) == 2


def test_stop_in_a_signal_handler(tmp_path: Path) -> None:
    def terminate(program: Program) -> None:
        program.wait_for("ready")
        os.kill(program.pid, signal.SIGTERM)

    ended = run(tmp_path, "stopped_by_a_handler", script="copies.py", act=terminate)
    (handled,) = ended.events("handled")
    assert handled["state"] == "stopped"
    assert handled["stop_s"] < STOP_WITHIN_S


def test_stop_in_the_middle_of_stop(tmp_path: Path) -> None:
    ended = run(tmp_path, "stopped_in_the_middle_of_stop", script="copies.py")
    (stopped,) = ended.events("stopped")
    assert stopped["deepest"] > 1
    assert stopped["state"] == "stopped"
    assert stopped["stop_s"] < STOP_WITHIN_S


def test_stop_at_exit_before_and_after_the_monitors_own(tmp_path: Path) -> None:
    ended = run(tmp_path, "stopped_at_exit", script="copies.py")
    seen = [(one["when"], one["before"], one["after"]) for one in ended.events("exit")]
    # Last in, first out.
    assert seen == [("registered after", "ok", "stopped"), ("registered before", "stopped", "stopped")]


def test_two_monitors_that_hang_at_exit_share_one_budget(tmp_path: Path) -> None:
    with Program(tmp_path / "run", script="copies.py", arguments=("two_that_hang",)) as program:
        begun_s = program.wait_for("exiting")["monotonic_s"]
        assert program.exit_code() == 0
        took_s = time.monotonic() - begun_s
        assert program.left_over_after() == []
        assert program.strange_lines() == []
        assert took_s > 0.9, "they did hang"
        assert took_s < STOP_WITHIN_S


def test_everything_at_once_while_stopped(tmp_path: Path) -> None:
    with Program(tmp_path / "run", script="copies.py", arguments=("hammered",)) as program:
        assert program.exit_code() == 0
        assert program.left_over_after() == []
        assert program.strange_lines() == []
        assert program.sampled()
