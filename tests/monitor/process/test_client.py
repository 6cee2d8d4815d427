"""The training process's side of a supervisor: started once, stopped once, and harmless as a copy."""

import os
import pickle
import threading
from collections.abc import Iterator

import pytest

from pylon.monitor import CPUMonitor, MonitorState
from pylon.monitor.process.client import MonitorClient
from pylon.monitor.settings import MonitorSettings
from tests.faults.harness import wait_until

SETTINGS = MonitorSettings(interval_s=0.1, timeout_s=2.0, join_timeout_s=2.0)


class Watched:
    """A client that runs a CPUMonitor."""

    def __init__(self) -> None:
        self.changes = 0
        self.client = MonitorClient((CPUMonitor(interval_s=0.1).spec(),), SETTINGS, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def up(self) -> MonitorClient:
        self.client.start()
        wait_until(lambda: self.client.reports and self.client.state is MonitorState.OK, 20, "a first report")
        return self.client


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    yield made
    made.client.stop()


def alive(pid: int | None) -> bool:
    try:
        os.kill(pid or 0, 0)
    except ProcessLookupError:
        return False
    return pid is not None


def test_until_it_has_been_heard_everything_starts(watched: Watched) -> None:
    assert watched.client.state is MonitorState.STARTING
    for name in ("CPUMonitor", "manager"):
        assert watched.client.health_of(name).state is MonitorState.STARTING
    watched.client.stop()
    assert watched.client.supervisor_pid is None, "a stop before the start does nothing"


def test_one_supervisor_from_start_to_stop_however_often_either_is_asked_for(watched: Watched) -> None:
    client = watched.up()
    supervisor = client.supervisor_pid
    assert set(client.reports["CPUMonitor"]) == {"localhost"}
    assert watched.changes > 0, "whoever shows the reports hears of them"
    client.start()
    assert client.supervisor_pid == supervisor
    stops = [threading.Thread(target=client.stop) for _ in range(3)]
    for stop in stops:
        stop.start()
    for stop in stops:
        stop.join(10)
    assert client.state is MonitorState.STOPPED
    assert not alive(supervisor)
    client.start()
    assert client.state is MonitorState.STOPPED, "what was stopped is not started again"


def test_a_copy_shows_the_reports_and_stops_nothing(watched: Watched) -> None:
    client = watched.up()
    copy = pickle.loads(pickle.dumps(client))
    assert set(copy.reports["CPUMonitor"]) == {"localhost"}
    assert copy.state is MonitorState.STOPPED
    threads = threading.active_count()
    copy.start()
    assert threading.active_count() == threads, "there is nothing that it follows"
    copy.stop()
    assert client.state is MonitorState.OK
    assert alive(client.supervisor_pid)


@pytest.mark.slow
def test_a_lost_supervisor_is_replaced_and_its_loss_counted(watched: Watched) -> None:
    client = watched.up()
    lost = client.supervisor_pid
    assert lost is not None
    os.kill(lost, 9)
    wait_until(lambda: client.supervisor_restarts == 1, 10, "the loss is seen")
    assert client.error is not None
    wait_until(lambda: client.supervisor_pid not in {None, lost}, 20, "another supervisor")
    wait_until(lambda: client.state is MonitorState.OK, 20, "it works")
