"""The Manager dict, against a real Manager process that is asked, killed, stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pylon.monitor.process.heartbeat import Heartbeat
from pylon.monitor.process.manager import ManagerAddress, ManagerGoneError, ManagerReports
from tests.faults.harness import wait_until
from tests.monitor.process.unix_sockets import sockets_of, unix_sockets

REPOSITORY = Path(__file__).resolve().parents[3]
SERVE = """
import socket
from pylon.monitor.process.door import Door
from pylon.monitor.process.manager import *
outside, inside = socket.socketpair()[0], socket.socket(fileno={0})
serve_reports(ManagerAddress(Door(outside, inside), {1!r}))
"""

CONNECT = """
import os, socket
from pylon.monitor.process.door import Door
from pylon.monitor.process.heartbeat import Heartbeat
from pylon.monitor.process.manager import *
door = Door(socket.socket(fileno={0}), socket.socketpair()[1])
os.setuid({2})
try:
    ManagerReports(ManagerAddress(door, {1!r}), Heartbeat()).copy()
    print("copied")
except ManagerGoneError:
    print("ManagerGoneError")
"""


class Manager:
    """A Manager process."""

    def __init__(self) -> None:
        self.address = ManagerAddress.new()
        inside = self.address.door.inside.fileno()
        code = SERVE.format(inside, self.address.key)
        self.process = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, pass_fds=(inside,))
        self.address.door.inside.close()

    def client(self) -> tuple[ManagerReports, Heartbeat]:
        heartbeat = Heartbeat()
        return ManagerReports(self.address, heartbeat), heartbeat

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        self.kill()
        self.address.door.close()


@pytest.fixture
def manager() -> Iterator[Manager]:
    made = Manager()
    yield made
    made.close()


def test_what_is_put_is_in_everybodys_copy(manager: Manager) -> None:
    (one, _), (other, _) = manager.client(), manager.client()
    assert one.copy() == {}
    one.put("CPUMonitor", b"first")
    other.put("GPUMonitor", b"second")
    one.put("CPUMonitor", b"newer")
    assert one.copy() == other.copy() == {"CPUMonitor": b"newer", "GPUMonitor": b"second"}


def test_copy_is_a_dict_that_no_call_can_block(manager: Manager) -> None:
    reports, _ = manager.client()
    reports.put("CPUMonitor", b"report")
    copied = reports.copy()
    manager.kill()
    assert type(copied) is dict
    assert copied == {"CPUMonitor": b"report"}


def test_large_report_passes(manager: Manager) -> None:
    reports, _ = manager.client()
    large = os.urandom(1 << 20)
    reports.put("CPUMonitor", large)
    assert reports.copy() == {"CPUMonitor": large}


def test_two_managers_do_not_know_each_other(manager: Manager) -> None:
    other = Manager()
    try:
        manager.client()[0].put("CPUMonitor", b"report")
        assert other.client()[0].copy() == {}
        assert other.address.key != manager.address.key
    finally:
        other.close()


def test_manager_has_no_name_that_another_process_could_connect_to(manager: Manager) -> None:
    reports, _ = manager.client()
    reports.put("CPUMonitor", b"report")
    names = {address for inode, address in unix_sockets() if inode in sockets_of(manager.process.pid)}
    assert names == {""}


@pytest.mark.skipif(os.geteuid() != 0, reason="a process of another user is made by root alone")
def test_process_of_another_user_is_not_accepted_even_if_it_has_inherited_the_door(manager: Manager) -> None:
    def connected_as(user: int) -> str:
        code = CONNECT.format(manager.address.door.outside.fileno(), manager.address.key, user)
        door = (manager.address.door.outside.fileno(),)
        return subprocess.run(  # noqa: PLW1510 - either ending is a result
            [sys.executable, "-c", code], cwd=REPOSITORY, pass_fds=door, capture_output=True, text=True
        ).stdout

    assert connected_as(0) == "copied\n"
    assert connected_as(65534) == "ManagerGoneError\n"
    assert manager.client()[0].copy() == {}, "and the Manager accepts others as before"


def test_heartbeat_says_when_it_was_connected_and_answered(manager: Manager) -> None:
    reports, beat = manager.client()
    before = time.monotonic()
    reports.put("CPUMonitor", b"report")
    assert before <= beat.connected_s <= beat.answered_s <= time.monotonic()
    assert beat.waiting_since_s == 0.0


@pytest.mark.parametrize("connected", [True, False])
def test_manager_that_was_killed_is_gone_for_good(manager: Manager, connected: bool) -> None:
    reports, beat = manager.client()
    if connected:
        reports.put("CPUMonitor", b"report")
    answered_s = beat.answered_s
    manager.kill()
    calls: list[Callable[[], object]] = [lambda: reports.put("CPUMonitor", b"report"), reports.copy]
    for call in calls * 2:
        with pytest.raises(ManagerGoneError, match="the Manager is gone") as gone:
            call()
        assert gone.value.__cause__ is not None
        assert gone.value.__cause__.__traceback__ is None, "it would keep what was to be sent"
    assert beat.answered_s == answered_s, "a failed call is no answer"


def test_manager_that_is_killed_during_a_call_ends_the_call(manager: Manager) -> None:
    waiter = Waiter(manager)
    manager.kill()
    waiter.join()
    assert isinstance(waiter.error, ManagerGoneError)


def test_manager_that_is_stopped_is_waited_for_and_the_heartbeat_says_since_when(manager: Manager) -> None:
    before = time.monotonic()
    waiter = Waiter(manager)
    since_s = waiter.heartbeat.waiting_since_s
    assert before <= since_s <= time.monotonic()
    answered_s = waiter.heartbeat.answered_s
    assert waiter.is_alive()
    manager.process.send_signal(signal.SIGCONT)
    waiter.join()
    assert waiter.error is None
    assert waiter.heartbeat.waiting_since_s == 0.0
    assert waiter.heartbeat.answered_s > answered_s
    assert manager.client()[0].copy() == {"CPUMonitor": b"while it was stopped"}


def test_client_that_comes_before_the_manager_listens_waits_for_it() -> None:
    # The first call of every test here does so too; this one says it.
    made = Manager()
    try:
        assert made.client()[0].copy() == {}
    finally:
        made.close()


class Waiter(threading.Thread):
    """Reports to a Manager that was stopped; begun when this is made."""

    def __init__(self, manager: Manager) -> None:
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self.reports, self.heartbeat = manager.client()
        self.reports.put("CPUMonitor", b"before")
        manager.process.send_signal(signal.SIGSTOP)
        # Field 3 of its stat: a signal that was sent has not yet arrived.
        stat = Path(f"/proc/{manager.process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 10, "it is stopped")
        self.start()
        wait_until(lambda: self.heartbeat.waiting_since_s, 10, "the call has begun")

    def run(self) -> None:
        try:
            self.reports.put("CPUMonitor", b"while it was stopped")
        except Exception as error:  # noqa: BLE001 - the test that made this looks at it
            self.error = error

    def join(self, timeout: float | None = 10) -> None:
        super().join(timeout)
        assert not self.is_alive(), "the call has not come back"
