"""The relay passes on what is new in the Manager dict, and ends with Manager, reader and supervisor."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylon.monitor.process.messages import FrameReader

REPOSITORY = Path(__file__).resolve().parents[3]
INTERVAL_S = 0.1
# A relay with a Manager of its own. A line of its standard input, 'name report', is put into the Manager
# dict; 'kill' kills the Manager; the end of standard input is the supervisor's request to stop.
_PROGRAM = f"""
import os, subprocess, sys, threading
from pylon.monitor.process.heartbeat import Heartbeat, Notices
from pylon.monitor.process.manager import ManagerAddress, ManagerReports
from pylon.monitor.process.messages import FrameWriter
from pylon.monitor.process.parent_death import ProcessWatch
from pylon.monitor.process.relay import relay
from pylon.monitor.process.worker import WorkerContext

address, notices, heartbeat = ManagerAddress.new(), Notices(), Heartbeat()
serve = '''
import signal, socket
from pylon.monitor.process.door import Door
from pylon.monitor.process.manager import *
from pylon.monitor.process.parent_death import die_with_parent
die_with_parent(%d, signal.SIGKILL)
outside, inside = socket.socketpair()[0], socket.socket(fileno=%d)
serve_reports(ManagerAddress(Door(outside, inside), %r))
'''
inside = address.door.inside.fileno()
serving = [sys.executable, "-c", serve % (os.getpid(), inside, address.key)]
manager = subprocess.Popen(serving, stdin=subprocess.DEVNULL, pass_fds=(inside,))
address.door.inside.close()

def follow():
    reports = ManagerReports(address, Heartbeat())
    for line in sys.stdin:
        if line == "kill\\n":
            manager.kill()
            manager.wait()
        else:
            name, report = line.split()
            reports.put(name, report.encode())
        notices.note_published()
    manager.kill()
    heartbeat.ask_to_end()

threading.Thread(target=follow, daemon=True).start()
around = WorkerContext(os.getppid(), ProcessWatch(os.getppid()), threading.Event(), address, heartbeat)
relay(FrameWriter(int(sys.argv[1])), {INTERVAL_S}, notices, around)
"""


class Relay:
    """A relay in a process of its own."""

    def __init__(self) -> None:
        self._reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(writing)],
            cwd=REPOSITORY, stdin=subprocess.PIPE, pass_fds=(writing,), text=True,
        )  # fmt: skip
        os.close(writing)
        self._frames = FrameReader(self._reading)

    def put(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def next(self, within_s: float = 20.0) -> list[dict[str, bytes]]:
        """The frames that come next; empty if none does in time."""
        until_s = time.monotonic() + within_s
        while not (frames := self._frames.read()) and time.monotonic() < until_s:
            time.sleep(0.01)
        return frames

    def stop_reading(self) -> None:
        os.close(self._reading)

    def exit_code(self) -> int:
        return self.process.wait(20)

    def close(self) -> None:
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture
def relay() -> Iterator[Relay]:
    made = Relay()
    yield made
    made.close()


def test_new_reports_arrive_and_only_they(relay: Relay) -> None:
    relay.put("CPUMonitor first")
    assert relay.next() == [{"CPUMonitor": b"first"}]
    relay.put("GPUMonitor second")
    assert relay.next() == [{"GPUMonitor": b"second"}]
    relay.put("CPUMonitor first")
    assert relay.next(3 * INTERVAL_S) == [], "it has been sent"
    relay.put("CPUMonitor newer")
    assert relay.next() == [{"CPUMonitor": b"newer"}]


def test_it_ends_in_order_when_its_supervisor_asks(relay: Relay) -> None:
    relay.put("CPUMonitor first")
    assert relay.next()
    assert relay.process.stdin is not None
    relay.process.stdin.close()
    assert relay.exit_code() == 0


def test_it_ends_with_its_manager_so_that_both_are_replaced(relay: Relay) -> None:
    relay.put("CPUMonitor first")
    assert relay.next()
    relay.put("kill")
    assert relay.exit_code() == 1


def test_it_ends_when_the_training_process_reads_no_more(relay: Relay) -> None:
    relay.put("CPUMonitor first")
    assert relay.next()
    relay.stop_reading()
    relay.put("CPUMonitor newer")
    assert relay.exit_code() == 1
