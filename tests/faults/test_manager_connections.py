"""A Manager that another user attacks is not reached; one that accepts no connection is replaced."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylon.monitor import SystemMonitor
from tests.faults.harness import Trainer, wait_until
from tests.faults.test_monitor_processes import complaints
from tests.monitor.process.unix_sockets import sockets_of, unix_sockets
from tests.other_users import NOBODY

pytestmark = pytest.mark.slow

CONNECTIONS = 140
# A server that accepts no more connections refuses the next one at once: it is given two seconds.
ATTACK = """
import os, socket, sys, time
os.setuid(int(sys.argv[1]))
made = []
until_s = time.monotonic() + 2
for name in sys.argv[3:]:
    count = 0
    while count < int(sys.argv[2]) and time.monotonic() < until_s:
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        try:
            one.connect(name.replace("@", "\\0", 1))
        except BlockingIOError:
            time.sleep(0.01)
            continue
        count += 1
        made.append(one)
print(len(made), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def watch() -> Iterator[SystemMonitor]:
    with SystemMonitor(interval_s=0.1, timeout_s=1.0, join_timeout_s=1.0, gpu=False) as started:
        wait_for_samples(started)
        wait_until(lambda: {"manager", "relay"} <= pids(started).keys(), 10, "all processes are reported")
        yield started


def pids(watch: SystemMonitor) -> dict[str, int]:
    assert watch._client is not None
    assert watch._client.supervisor_pid is not None
    processes = watch._client.health.processes
    found = {name: one.pid for name, one in processes.items() if one.pid is not None}
    return found | {"supervisor": watch._client.supervisor_pid}


def wait_for_samples(watch: SystemMonitor) -> None:
    """Wait for two samples that are taken from now on: one may be on its way."""
    for _ in range(2):
        asked = time.monotonic()
        wait_until(lambda asked=asked: newest_s(watch) > asked, 20, "a sample that is taken now")


def newest_s(watch: SystemMonitor) -> float:
    seen = watch.latest().cpu.get("localhost")
    return 0.0 if seen is None or seen.measured_s is None else seen.measured_s


@contextlib.contextmanager
def silent_connections(names: list[str]) -> Iterator[int]:
    """How many connections another user has made to sockets of these names; they are held in the block."""
    attacker = subprocess.Popen(
        [sys.executable, "-c", ATTACK, str(NOBODY), str(CONNECTIONS), *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert attacker.stdout is not None
    try:
        yield int(attacker.stdout.readline())
    finally:
        attacker.communicate("")


@pytest.mark.skipif(os.geteuid() != 0, reason="a process of another user is made by root alone")
def test_silent_connections_of_another_user_end_no_monitoring(watch: SystemMonitor) -> None:
    own = set().union(*(sockets_of(pid) for pid in pids(watch).values()))
    names = sorted({name for inode, name in unix_sockets() if inode in own and name})
    before = pids(watch)
    with socket.socket(socket.AF_UNIX) as reachable:
        reachable.bind("\0pylon-test-reachable")
        reachable.listen(CONNECTIONS)
        with silent_connections(["@pylon-test-reachable", *names]) as made:
            assert made >= CONNECTIONS, "what has a name is reached"
            # The relay that comes next has to connect.
            os.kill(before["relay"], signal.SIGKILL)
            wait_until(lambda: pids(watch).get("relay", 0) not in {0, before["relay"]}, 10, "another relay")
            wait_for_samples(watch)
    assert pids(watch)["manager"] == before["manager"]
    assert names == []


def test_manager_that_accepts_no_connection_is_replaced(watch: SystemMonitor) -> None:
    before = pids(watch)
    threads = Path(f"/proc/{before['manager']}/task")
    running = len(list(threads.iterdir()))
    # It can take no further connection: the next one ends the thread that accepts them.
    resource.prlimit(before["manager"], resource.RLIMIT_NOFILE, (3, 3))
    os.kill(before["relay"], signal.SIGKILL)
    wait_until(
        lambda: len(list(threads.iterdir())) < running - 1, 10, "the relay's and the accepting thread end"
    )
    assert pids(watch)["manager"] == before["manager"], "the process itself runs on"
    wait_until(lambda: pids(watch).get("manager", 0) not in {0, before["manager"]}, 20, "another Manager")
    wait_for_samples(watch)
    assert watch.health()["manager"].restarts == 1


def test_monitors_need_no_folder_for_temporary_files(tmp_path: Path) -> None:
    missing = tmp_path / ("x" * 200) / "missing"
    with Trainer(tmp_path, {"TMPDIR": str(missing)}) as trainer:
        trainer.wait_for("ready")
        trainer.end()
        assert trainer.exit_code() == 0
        assert complaints(trainer) == []
