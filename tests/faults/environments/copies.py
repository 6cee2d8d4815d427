"""Training programs that fork, or stop their monitors in odd places: `python copies.py NAME`."""

import atexit
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from pylon.monitor import MonitorState
from tests.faults.environments import common
from tests.faults.environments.common import (
    new_monitor,
    newer,
    ready,
    say,
    state,
    supervisor_pid,
    wait_for,
    watch,
)


def forked() -> None:
    """Children that use the monitor in every way, and end in every way."""
    monitor = watch(gpu=True)
    ready(monitor)
    for ending in ("falls off the end", "sys.exit", "os._exit", "killed"):
        pid = os.fork()
        if pid == 0:
            _use_copy(monitor, ending)
            if ending == "falls off the end":
                return
            _end_child(ending)
        _, status = os.waitpid(pid, 0)
        say("ended", ending=ending, code=os.waitstatus_to_exitcode(status))
        newer(monitor)
    ready(monitor, "again")
    monitor.stop()


def _use_copy(monitor: Any, ending: str) -> None:
    if not common.WATCHED:
        return
    before = monitor.latest()
    monitor.start()
    monitor.release()
    monitor.stop()
    with monitor:
        states = {name: one.state.value for name, one in monitor.health().items()}
    say("copy", ending=ending, states=states, sequence=before.sequence, same=monitor.latest() is before)


def _end_child(ending: str) -> NoReturn:
    if ending == "sys.exit":
        sys.exit(5)
    if ending == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(6)


def forked_with_its_own() -> None:
    """A child may watch itself: a monitor that it makes is its own."""
    monitor = watch()
    ready(monitor)
    pid = os.fork()
    if pid == 0:
        own = watch()
        if common.WATCHED:
            wait_for(lambda: common.current(own), "a sample of its own")
            say("own", host=supervisor_pid(own))
        sys.exit(7)
    _, status = os.waitpid(pid, 0)
    say("ended", code=os.waitstatus_to_exitcode(status))
    newer(monitor)
    monitor.stop()


def forked_before_the_start() -> None:
    """Made, then forked: whoever starts it has its own processes."""
    monitor = new_monitor()
    pid = os.fork()
    if common.WATCHED:
        monitor.start()
        wait_for(lambda: common.current(monitor), "a sample")
        say("own", host=supervisor_pid(monitor), child=pid == 0)
    if pid == 0:
        monitor.stop()
        sys.exit(7)
    _, status = os.waitpid(pid, 0)
    say("ended", code=os.waitstatus_to_exitcode(status))
    ready(monitor)
    monitor.stop()


def stopped_by_a_handler() -> None:
    """SIGTERM's handler stops the monitor; then the program ends by itself."""
    monitor = watch()
    asked = []

    def handle(*_: object) -> None:
        begun_s = time.perf_counter()
        monitor.stop()
        asked.append(time.perf_counter() - begun_s)

    signal.signal(signal.SIGTERM, handle)
    ready(monitor)
    wait_for(lambda: bool(asked), "SIGTERM")
    say("handled", stop_s=asked[0], state=state(monitor).value if common.WATCHED else "")


def stopped_in_the_middle_of_stop() -> None:
    """The handler's stop comes while the program is inside its own, and while that takes long."""
    monitor = watch()
    depth = 0
    nested = []

    def stop() -> None:
        nonlocal depth
        depth += 1
        nested.append(depth)
        monitor.stop()
        depth -= 1

    signal.signal(signal.SIGALRM, lambda *_: stop())
    ready(monitor)
    if common.WATCHED:
        os.kill(supervisor_pid(monitor), signal.SIGSTOP)
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
    begun_s = time.perf_counter()
    stop()
    took_s = time.perf_counter() - begun_s
    signal.setitimer(signal.ITIMER_REAL, 0)
    say("stopped", stop_s=took_s, deepest=max(nested), state=state(monitor).value if common.WATCHED else "")


def stopped_at_exit() -> None:
    """Functions for the exit, registered before the monitor's own and after it."""
    atexit.register(lambda: _stop_and_tell(monitor, "registered before"))
    monitor = watch()
    ready(monitor)
    atexit.register(lambda: _stop_and_tell(monitor, "registered after"))


def _stop_and_tell(monitor: Any, when: str) -> None:
    before = state(monitor).value if common.WATCHED else ""
    monitor.stop()
    say("exit", when=when, before=before, after=state(monitor).value if common.WATCHED else "")


def two_that_hang() -> None:
    """Two monitors, neither stopped, both hosts stuck: how long does the exit take?"""
    two = [watch(), watch()]
    for monitor in two:
        ready(monitor)
    for monitor in two:
        os.kill(supervisor_pid(monitor), signal.SIGSTOP)
    say("exiting", monotonic_s=time.monotonic())


def hammered() -> None:
    """Other threads ask all sorts of things while the monitor is stopped."""
    for _ in range(3):
        monitor = watch()
        ready(monitor)
        over = threading.Event()
        threads = [threading.Thread(target=_hammer, args=(monitor, over)) for _ in range(4)]
        threads += [threading.Thread(target=monitor.stop) for _ in range(8)]
        for thread in threads:
            thread.start()
        monitor.stop()
        over.set()
        for thread in threads:
            thread.join()
        assert state(monitor) is MonitorState.STOPPED


def _hammer(monitor: Any, over: threading.Event) -> None:
    while not over.is_set():
        monitor.release()
        monitor.health()
        monitor.resume()
        monitor.latest().as_record()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
