"""What the page shows, kept up to date: records are read by one thread, pictures are taken by another.

A file system that hangs stops the first alone: servers stay live.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pylon.monitor import SystemMonitor
from pylon.views.sources.board import Runs
from pylon.views.sources.reading import RunReader
from pylon.views.sources.servers import ServerNow, servers_now
from pylon.views.sources.trails import OF_GPU, OF_HOST, Trails
from pylon.views.web.picture import Picture, next_picture

_LOG = logging.getLogger(__name__)
_MOST_NUMBERS = 10_000


Values = list[float | None]


@dataclass(frozen=True, slots=True)
class LastMinutes:
    """The figures of one server as they were lately.

    Attributes:
        times: Unix times of the moments, from the oldest on.
        host: by name, a value for each moment, None in a gap; None: there is no such trail.
        gpus: likewise, a list of them by the GPU's place.
    """

    times: Sequence[float]
    host: Mapping[str, Values | None]
    gpus: Mapping[str, Sequence[Values | None]]


class Reader:
    """Takes pictures of servers and runs.

    Args:
        monitor: of the servers, started.
        names: of the servers.
        paths: of runs, as a user gives them.
        every_s: between two pictures.
    """

    def __init__(
        self, monitor: SystemMonitor, names: Sequence[str], paths: Sequence[Path], every_s: float
    ) -> None:
        self._monitor, self._names, self._every_s = monitor, list(names), every_s
        self._records = RunReader(paths, every_s)
        self._picture_problem = ""
        self._numbers: dict[str, int] = {}
        self._next_number = 0
        self._trails, self._lock = Trails(), threading.Lock()
        self._stop = threading.Event()
        self._listeners: list[Callable[[], None]] = []
        self.picture = Picture.first()

    def __enter__(self) -> Self:
        """Begin."""
        self._records.start()
        threading.Thread(target=self._take_pictures, name="pictures", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Read no more; a reading that hangs is not waited for."""
        self._stop.set()
        self._records.stop()

    def on_picture(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each new picture, in the thread that took it."""
        self._listeners.append(listener)

    def last_minutes(self, server: ServerNow) -> LastMinutes:
        """The figures of one server as they were lately."""
        with self._lock:
            host = {name: self._trails.values(server.name, name) for name in OF_HOST}
            gpus = {
                name: [self._trails.values(server.name, name, gpu.uuid) for gpu in server.gpus]
                for name in OF_GPU
            }
            return LastMinutes(self._trails.times(), host, gpus)

    def take(self) -> None:
        """Take one picture, and call the listeners."""
        with self._lock:
            servers = self._servers()
            self._trails.add(time.time(), servers)
            runs = self._records.runs
            self._number(runs)
            notes = [self._picture_problem] if self._picture_problem else []
            self.picture = next_picture(self.picture, servers, runs, self._numbers, notes)
        for listener in self._listeners:
            listener()

    def _servers(self) -> Sequence[ServerNow]:
        return servers_now(self._monitor.latest(), self._monitor.health(), self._names)

    def _take_pictures(self) -> None:
        until_s = time.monotonic()
        while not self._stop.wait(max(0.0, until_s - time.monotonic())):
            until_s = max(until_s + self._every_s, time.monotonic())
            try:
                self.take()
            except Exception as error:  # noqa: BLE001 - one picture less; the next may be possible
                _LOG.exception("no picture could be taken")
                at = time.strftime("%H:%M:%S")
                self._picture_problem = f"no picture at {at}: {type(error).__name__}: {error}"

    def _number(self, runs: Runs) -> None:
        """Give each run its number: it stays while the run is known, and is never given again."""
        known = {str(run.path) for run in runs.runs}
        if len(self._numbers) > _MOST_NUMBERS:
            self._numbers = {path: number for path, number in self._numbers.items() if path in known}
        for run in runs.runs:
            if str(run.path) not in self._numbers:
                self._next_number += 1
                self._numbers[str(run.path)] = self._next_number
