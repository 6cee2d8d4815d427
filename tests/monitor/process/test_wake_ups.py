"""Between two readings the processes of the monitors sleep: each wake-up takes time from the run's cores."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pylon.monitor import SystemMonitor
from tests.faults.harness import wait_until

_WATCHED_S = 1.0


@pytest.fixture
def monitor() -> Iterator[SystemMonitor]:
    made = SystemMonitor(gpu=False, interval_s=60.0)
    made.start()
    yield made
    made.stop()


def switches(process: psutil.Process) -> int:
    """How often the threads of a process have gone to sleep."""
    statuses = (path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/status"))
    return sum(int(one.split("\nvoluntary_ctxt_switches:")[1].split()[0]) for one in statuses)


def test_relay_and_workers_sleep_until_something_happens(monitor: SystemMonitor) -> None:
    wait_until(lambda: "localhost" in monitor.latest().cpu, 20, "the first report")
    children = psutil.Process(monitor.supervisor_pid).children()
    assert len(children) == 3, "Manager, relay and CPUMonitor"
    time.sleep(0.1)
    before = [switches(one) for one in children]
    time.sleep(_WATCHED_S)
    woken = {one.name(): switches(one) - count for one, count in zip(children, before, strict=True)}
    assert sum(woken.values()) <= 1, woken
