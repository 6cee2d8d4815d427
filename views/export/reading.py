"""What is exported, kept up to date: monitors of its own, and the records of runs."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pylon.monitor import SystemMonitor
from pylon.views.export.picture import Picture
from pylon.views.sources.board import RunBoard, Runs
from pylon.views.sources.servers import servers_now


class Reader:
    """Takes pictures without waiting: records are read by a thread of their own.

    A file system that hangs stops that thread alone: the figures of runs become old, and are then left out.

    Args:
        monitor: of the servers, started.
        names: of the servers.
        paths: of runs, as a user gives them.
        every_s: between two looks at the records.
    """

    def __init__(
        self, monitor: SystemMonitor, names: Sequence[str], paths: Sequence[Path], every_s: float
    ) -> None:
        self._monitor, self._names, self._every_s = monitor, list(names), every_s
        self._board = RunBoard(paths)
        self._runs = Runs()
        self._stop = threading.Event()
        self._read_once = threading.Event()
        self._thread = threading.Thread(target=self._read, name="runs", daemon=True) if paths else None

    def __enter__(self) -> Self:
        """Begin to read records."""
        if self._thread is None:
            self._read_once.set()
        else:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Read no more; a reading that hangs is not waited for."""
        self._stop.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the records have been read once; whether they have."""
        return self._read_once.wait(timeout_s)

    def picture(self) -> Picture:
        """All that is known now."""
        health = self._monitor.health()
        servers = servers_now(self._monitor.latest(), health, self._names)
        return Picture(servers, self._runs, health)

    def _read(self) -> None:
        while not self._stop.is_set():
            self._runs = self._board.refresh()
            self._read_once.set()
            self._stop.wait(self._every_s)
