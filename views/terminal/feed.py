"""Makes pictures in a thread of its own: what it takes long to read keeps no key waiting.

Records of runs are read by a thread more: a file system that hangs holds up no figure of a server.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from pylon.monitor import MonitorHealth, SystemSnapshot
from pylon.views.sources.reading import RunReader
from pylon.views.sources.servers import ServerNow, servers_now
from pylon.views.sources.trails import Trails
from pylon.views.terminal.picture import Picture
from pylon.views.terminal.processes import parents_of

LOCALHOST = "localhost"
# Ages go on between readings; and the first reading of each server is shown when it comes.
_PICTURE_S, _FIRST_S, _FIRST_FOR_S = 1.0, 0.25, 10.0


class Monitored(Protocol):
    """What SystemMonitor offers to a view."""

    def latest(self) -> SystemSnapshot:
        """What is known now."""

    def health(self) -> dict[str, MonitorHealth]:
        """How the monitors are."""


class Feed:
    """Makes a picture again and again.

    Args:
        monitor: of the servers.
        names: of the servers, in the order in which they are shown.
        paths: of runs, as a user gives them.
        interval_s: between two readings of the servers.
    """

    def __init__(
        self, monitor: Monitored, names: Sequence[str], paths: Sequence[Path], interval_s: float
    ) -> None:
        self._monitor, self._names = monitor, list(names)
        self._records = RunReader(paths, min(interval_s, _PICTURE_S))
        self.interval_s = interval_s
        self._trails = Trails()
        self._noted_s = -math.inf
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def picture(self) -> Picture:
        """Read all that is known now."""
        at = time.time()
        servers = servers_now(self._monitor.latest(), self._monitor.health(), self._names)
        now_s = time.monotonic()
        # A timer may be early by a little.
        if now_s - self._noted_s >= 0.9 * self.interval_s and not _all_starting(servers):
            self._noted_s = now_s
            with self._lock:
                self._trails.add(at, servers)
        return Picture(at, servers, self._records.runs, parents_of(_local_pids(servers)))

    def trail(self, server: str, name: str, device: str = "") -> tuple[list[float], list[float | None]]:
        """Times and values of a figure, of the last moments."""
        with self._lock:
            values = self._trails.values(server, name, device)
            return ([], []) if values is None else (list(self._trails.times()), values)

    def start(self, show: Callable[[Picture], object]) -> None:
        """Begin; each picture goes to `show`, in the thread of the feed."""
        self._records.start()
        self._thread = threading.Thread(target=self._run, args=(show,), name="pylon-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; a reading that does not end is not waited for."""
        self._stop.set()
        self._records.stop()
        if self._thread is not None:
            self._thread.join(0.5)

    def _run(self, show: Callable[[Picture], object]) -> None:
        began_s = due_s = time.monotonic()
        while not self._stop.is_set():
            try:
                picture = self.picture()
            except Exception as error:  # noqa: BLE001 - the screen shows it next to the last figures
                picture = Picture(problem=f"{type(error).__name__}: {error}")
            if self._stop.is_set():
                return
            show(picture)
            is_early = time.monotonic() - began_s < _FIRST_FOR_S and _any_starting(picture.servers)
            wait_s = _FIRST_S if is_early else _PICTURE_S
            due_s = max(due_s + min(self.interval_s, wait_s), time.monotonic())
            self._stop.wait(max(0.05, due_s - time.monotonic()))


def _any_starting(servers: Sequence[ServerNow]) -> bool:
    return any(one.state == "starting" for one in servers)


def _all_starting(servers: Sequence[ServerNow]) -> bool:
    return all(one.state == "starting" for one in servers)


def _local_pids(servers: Sequence[ServerNow]) -> list[int]:
    for server in servers:
        if server.name == LOCALHOST and server.cpu is not None:
            top = [one.pid for one in server.cpu.sample.top_processes or ()]
            return top + [one.pid for gpu in server.gpus for one in gpu.processes or ()]
    return []
