"""Between two readings the processes of the monitors sleep: each wake-up takes time from the run's cores."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pylon.monitor import MonitorState, SystemMonitor
from tests.faults.harness import wait_until


def switches(process: psutil.Process) -> int:
    """How often the threads of a process have gone to sleep."""
    statuses = (path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/status"))
    return sum(int(one.split("\nvoluntary_ctxt_switches:")[1].split()[0]) for one in statuses)


@contextmanager
def running(interval_s: float) -> Iterator[psutil.Process]:
    """A monitor that has reported; its supervisor."""
    monitor = SystemMonitor(gpu=False, interval_s=interval_s)
    monitor.start()
    try:
        wait_until(lambda: "localhost" in monitor.latest().cpu, 20, "the first report")
        states = (MonitorState.OK, MonitorState.OK)
        wait_until(lambda: states == tuple(one.state for one in monitor.health().values()), 20, "all run")
        yield psutil.Process(monitor.supervisor_pid)
    finally:
        monitor.stop()


def test_relay_and_workers_sleep_until_something_happens() -> None:
    with running(interval_s=60.0) as supervisor:
        children = supervisor.children()
        assert len(children) == 3, "Manager, relay and CPUMonitor"
        time.sleep(0.1)
        before = [switches(one) for one in children]
        time.sleep(1.0)
        woken = {one.name(): switches(one) - count for one, count in zip(children, before, strict=True)}
    assert sum(woken.values()) <= 1, woken


def test_a_supervisor_with_nothing_to_judge_only_gives_its_sign_of_life() -> None:
    with running(interval_s=1.0) as supervisor:
        time.sleep(0.3)
        before = switches(supervisor)
        time.sleep(1.5)
        woken = switches(supervisor) - before
    assert 1 <= woken <= 3, "one a second; while something is under way, four"
