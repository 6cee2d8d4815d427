"""What is exported, kept up to date: monitors of its own, and the records of runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pylon.monitor import SystemMonitor
from pylon.views.export.picture import Picture
from pylon.views.sources.reading import RunReader
from pylon.views.sources.servers import servers_now


class Reader:
    """Takes pictures without waiting.

    While a file system hangs, the figures of runs become old, and are left out.

    Args:
        monitor: of the servers, started.
        names: of the servers.
        paths: of runs, as a user gives them.
        every_s: between two looks at the records.
    """

    def __init__(
        self, monitor: SystemMonitor, names: Sequence[str], paths: Sequence[Path], every_s: float
    ) -> None:
        self._monitor, self._names = monitor, list(names)
        self._records = RunReader(paths, every_s)

    def __enter__(self) -> Self:
        """Begin to read records."""
        self._records.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Read no more; a reading that hangs is not waited for."""
        self._records.stop()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the records have been read once; whether they have."""
        return self._records.wait(timeout_s)

    def picture(self) -> Picture:
        """All that is known now."""
        health = self._monitor.health()
        servers = servers_now(self._monitor.latest(), health, self._names)
        return Picture(servers, self._records.runs, health)
