"""What the programs in this folder share.

Each can be run twice: with monitors, and with PYLON_TEST_UNWATCHED set, without. Events go to a file,
so that they arrive also where a program has no standard output.
"""

import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pylon.monitor import MonitorState, SystemMonitor
from pylon.storage import write_json

FOLDER = Path(os.environ["PYLON_TEST_FOLDER"])
WATCHED = "PYLON_TEST_UNWATCHED" not in os.environ
JOIN_TIMEOUT_S = 1.0

# From Python 3.12 on a fork warns where a second thread runs, and the monitor's own is one: the only
# difference that a monitor makes to what a program prints.
warnings.filterwarnings("ignore", r".*use of fork\(\) may lead to deadlocks", DeprecationWarning)


class Unwatched:
    """Stands where a SystemMonitor would, in the run without monitors."""

    def stop(self) -> None:
        return


def new_monitor(**settings: Any) -> SystemMonitor:
    return SystemMonitor(
        **({"interval_s": 0.1, "timeout_s": 2.0, "join_timeout_s": JOIN_TIMEOUT_S, "gpu": False} | settings)
    )


def watch(**settings: Any) -> Any:
    """A started monitor, or what stands for it."""
    if not WATCHED:
        return Unwatched()
    monitor = new_monitor(**settings)
    monitor.start()
    return monitor


def ready(monitor: Any, event: str = "ready") -> None:
    """Wait for a current sample, keep it on disk, and tell."""
    if not WATCHED:
        say(event, host=None)
        return
    wait_for(lambda: current(monitor), f"a sample; the host: {monitor._client.error}")
    write_json(FOLDER / "record.json", monitor.latest().as_record())
    say(event, host=supervisor_pid(monitor), worker=monitor.health()["CPUMonitor"].pid)


def current(monitor: SystemMonitor) -> bool:
    seen = monitor.latest().cpu.get("localhost")
    return seen is not None and seen.current is not None and state(monitor) is MonitorState.OK


def newer(monitor: Any) -> None:
    """Wait until another sample than the newest so far has come."""
    if not WATCHED:
        return
    sequence = monitor.latest().sequence
    wait_for(lambda: monitor.latest().sequence > sequence and current(monitor), "a newer sample")


def state(monitor: SystemMonitor) -> MonitorState:
    return monitor.health()["CPUMonitor"].state


def supervisor_pid(monitor: SystemMonitor) -> int:
    assert monitor._client is not None
    assert monitor._client.supervisor_pid is not None
    return monitor._client.supervisor_pid


def say(event: str, **details: Any) -> None:
    content = json.dumps({"event": event, "pid": os.getpid(), **details}) + "\n"
    descriptor = os.open(FOLDER / "events.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, content.encode())
    os.close(descriptor)


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until_s:
            say("timeout", what=what)
            raise TimeoutError(what)
        time.sleep(0.01)


def hold() -> None:
    """Train until the test says that it is enough."""
    wait_for((FOLDER / "end").exists, "the end of training", 60.0)


def descriptors() -> dict[int, str]:
    """This process's open descriptors and what each is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - Path keeps a descriptor of the folder too
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - 'pipe:[1]' is no path
        except OSError:
            # The one that the listing itself has used.
            continue
    return found
