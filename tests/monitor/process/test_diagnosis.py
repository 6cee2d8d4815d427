"""Who is in trouble and who is to blame: told from heartbeats that were written, on real processes."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from typing import Any

import pytest

from pylon.monitor import MonitorState, ProcessFailure, ResourceLimits
from pylon.monitor.process.child import Child
from pylon.monitor.process.diagnosis import blame, calm_for_s, trouble
from pylon.monitor.process.heartbeat import Heartbeat
from pylon.monitor.process.messages import MonitorSpec
from tests.faults.harness import wait_until

SILENT_AFTER_S, TIMEOUT_S = 3.0, 5.0
# pytest's own process may have threads by now; the children made here touch nothing that they share.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

Make = Callable[..., Child]


def sleep(_event: Any, _heartbeat: Heartbeat) -> None:
    """A child that does nothing; what its heartbeat says is written by the test."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(1000)


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Child] = []

    def start(name: str = "worker", **beat: float) -> Child:
        child = Child(name, get_context("fork"), sleep, ResourceLimits())
        made.append(child)
        child.step(time.monotonic())
        assert child.running
        if "alive_s" in beat:
            beat.setdefault("ready_s", beat["alive_s"])
        for key, value in beat.items():
            setattr(child.heartbeat, key, value)
        return child

    yield start
    for child in made:
        with contextlib.suppress(ProcessLookupError):
            child.send(signal.SIGKILL)
        if child._process is not None:
            child._process.join(10)


def judged(child: Child, now: float) -> ProcessFailure | None:
    verdict = trouble(child, now, SILENT_AFTER_S, TIMEOUT_S)
    return None if verdict is None else verdict[0]


def test_child_that_lives_and_reads_is_in_no_trouble(make: Make) -> None:
    now = time.monotonic()
    assert judged(make(alive_s=now, success_s=now), now) is None


@pytest.mark.parametrize(("after_s", "failure"), [(19.0, None), (21.0, ProcessFailure.NOT_STARTED)])
def test_child_that_does_not_come_up_in_time(
    make: Make, after_s: float, failure: ProcessFailure | None
) -> None:
    assert judged(make(), time.monotonic() + after_s) is failure


def test_child_that_still_reads_its_modules_on_a_busy_machine_is_not_silent(make: Make) -> None:
    now = time.monotonic()
    assert judged(make(alive_s=now, ready_s=0.0), now + 10) is None


@pytest.mark.parametrize(("after_s", "failure"), [(2.9, None), (3.1, ProcessFailure.SILENT)])
def test_child_whose_main_thread_does_not_come_round(
    make: Make, after_s: float, failure: ProcessFailure | None
) -> None:
    now = time.monotonic()
    assert judged(make(alive_s=now, success_s=now), now + after_s) is failure


def test_child_that_waits_for_the_manager_is_not_silent(make: Make) -> None:
    now = time.monotonic()
    assert judged(make(alive_s=now, success_s=now, waiting_since_s=now), now + 100) is None


@pytest.mark.parametrize(("busy_s", "failure"), [(4.9, None), (5.1, ProcessFailure.HUNG)])
def test_reading_that_takes_too_long(make: Make, busy_s: float, failure: ProcessFailure | None) -> None:
    now = time.monotonic()
    child = make(alive_s=now, success_s=now - busy_s - 1, busy_since_s=now - busy_s)
    assert judged(child, now) is failure


@pytest.mark.parametrize(("busy_s", "failure"), [(19.9, None), (20.1, ProcessFailure.HUNG)])
def test_first_reading_may_take_four_times_as_long(
    make: Make, busy_s: float, failure: ProcessFailure | None
) -> None:
    now = time.monotonic()
    assert judged(make(alive_s=now, busy_since_s=now - busy_s), now) is failure


def test_verdict_names_the_limit(make: Make) -> None:
    now = time.monotonic()
    verdict = trouble(make(alive_s=now - 4), now, SILENT_AFTER_S, TIMEOUT_S)
    assert verdict == (ProcessFailure.SILENT, "no sign of life for 3 s")


def test_child_that_is_being_ended_is_not_judged_again(make: Make) -> None:
    now = time.monotonic()
    child = make(alive_s=now - 100)
    child.end(now, ProcessFailure.SILENT, "no sign of life")
    assert judged(child, now) is None
    assert child.state is MonitorState.UNREACHABLE
    assert child.heartbeat.asked_to_end


def test_child_that_was_never_started_is_not_judged() -> None:
    child = Child("worker", get_context("fork"), sleep, ResourceLimits())
    assert judged(child, time.monotonic() + 1000) is None


def test_child_that_is_asked_and_does_not_end_is_terminated_and_then_forgotten_with_its_heartbeat(
    make: Make,
) -> None:
    now = time.monotonic()
    child = make(alive_s=now)
    former = child.heartbeat
    child.end(now, ProcessFailure.SILENT, "why")
    wait_until(lambda: child.step(time.monotonic()) or child.pid is None, 10, "SIGTERM ends it")
    assert child.state is MonitorState.RESTARTING
    assert str(child.error) == "silent: why"
    wait_until(lambda: child.step(time.monotonic()) or child.running, 10, "it is started again")
    assert child.restarts == 1
    assert child.heartbeat is not former
    assert child.heartbeat.asked_to_end == 0.0


def test_nobody_is_blamed_while_nobody_waits(make: Make) -> None:
    now = time.monotonic()
    assert blame(make("manager"), [make(), make()], now, TIMEOUT_S) is None


@pytest.mark.parametrize("waits_s", [1.0, 4.9])
def test_nobody_is_blamed_for_a_call_within_its_time(make: Make, waits_s: float) -> None:
    now = time.monotonic()
    assert blame(make("manager"), [make(waiting_since_s=now - waits_s)], now, TIMEOUT_S) is None


def test_manager_is_blamed_when_it_answers_nobody(make: Make) -> None:
    now = time.monotonic()
    manager = make("manager")
    clients = [make(waiting_since_s=now - 6, answered_s=now - 7), make(answered_s=now - 6.5)]
    assert blame(manager, clients, now, TIMEOUT_S) is manager


def test_caller_is_blamed_when_the_manager_has_answered_somebody_else_since(make: Make) -> None:
    now = time.monotonic()
    stuck = make(connected_s=now - 60, waiting_since_s=now - 6)
    assert blame(make("manager"), [make(answered_s=now - 1), stuck], now, TIMEOUT_S) is stuck


def test_manager_is_blamed_that_answers_its_connections_and_accepts_no_other(make: Make) -> None:
    now = time.monotonic()
    manager = make("manager")
    clients = [make(waiting_since_s=now - 6), make(connected_s=now - 60, answered_s=now - 1)]
    assert blame(manager, clients, now, TIMEOUT_S) is manager


def test_caller_is_blamed_when_the_manager_has_accepted_another_one_since(make: Make) -> None:
    now = time.monotonic()
    stuck = make(waiting_since_s=now - 6)
    clients = [stuck, make(connected_s=now - 1, answered_s=now - 1)]
    assert blame(make("manager"), clients, now, TIMEOUT_S) is stuck


def test_only_client_cannot_clear_the_manager(make: Make) -> None:
    now = time.monotonic()
    manager = make("manager")
    # Its own former answer is older than its call.
    assert blame(manager, [make(waiting_since_s=now - 6, answered_s=now - 6)], now, TIMEOUT_S) is manager


def test_manager_that_is_being_ended_is_not_blamed_again(make: Make) -> None:
    now = time.monotonic()
    manager = make("manager", alive_s=now)
    manager.end(now, ProcessFailure.SILENT, "why")
    assert blame(manager, [make(waiting_since_s=now - 60)], now, TIMEOUT_S) is None


def test_client_that_is_being_ended_blames_nobody(make: Make) -> None:
    now = time.monotonic()
    client = make(alive_s=now, waiting_since_s=now - 60)
    client.end(now, ProcessFailure.SILENT, "why")
    assert blame(make("manager"), [client], now, TIMEOUT_S) is None


def test_killed_child_is_no_trouble_but_an_end_with_its_signal(make: Make) -> None:
    child = make(alive_s=time.monotonic())
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    wait_until(
        lambda: child.step(time.monotonic(), may_start=False) or child.pid is None, 10, "the end is noticed"
    )
    assert str(child.error) == "ended: by SIGKILL"
    assert judged(child, time.monotonic()) is None


def calm(worker: Child, interval_s: float = 1.0) -> float:
    spec = MonitorSpec(worker.name, "", "", b"", interval_s, TIMEOUT_S)
    return calm_for_s([(worker, spec)], [], time.monotonic(), TIMEOUT_S)


def test_a_process_with_nothing_under_way_need_not_be_judged_for_an_interval(make: Make) -> None:
    now = time.monotonic()
    worker = make(alive_s=now, success_s=now)
    assert calm(worker) == 0.0, "it starts"
    worker.move(MonitorState.OK)
    assert calm(worker) == 1.0
    assert calm(worker, 60.0) == TIMEOUT_S / 2, "a reading that begins now may hang"
    for what in ("busy_since_s", "waiting_since_s"):
        setattr(worker.heartbeat, what, now)
        assert calm(worker) == 0.0, what
        setattr(worker.heartbeat, what, 0.0)
    worker.heartbeat.success_s = now - 2.0
    assert calm(worker) == 0.0, "its last reading is late"
    worker.heartbeat.success_s = now
    worker.end(now, ProcessFailure.SILENT, "a test")
    assert calm(worker) == 0.0, "it is being ended"


def test_without_monitors_the_other_processes_are_judged_by_the_time_out(make: Make) -> None:
    relay = make("relay", alive_s=time.monotonic())
    relay.move(MonitorState.OK)
    assert calm_for_s([], [relay], time.monotonic(), TIMEOUT_S) == TIMEOUT_S / 2
