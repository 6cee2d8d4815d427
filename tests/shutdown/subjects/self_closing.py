"""A monitor that puts itself in order where Python deletes it: `__del__` stops it and writes a summary.

For a global of the script that is while the interpreter takes itself apart.
"""

import threading
from pathlib import Path

from tests.shutdown.subjects.readings import Readings
from tests.shutdown.subjects.training import INTERVAL_S


class SelfClosingMonitor:
    """Reads in a daemon thread, which holds no reference to it."""

    def __init__(self, summary: Path, *, gpu: bool) -> None:
        self._summary = summary
        self._readings = Readings(gpu=gpu)
        self.sampled, self.hung = self._readings.sampled, self._readings.hung
        self._stop = threading.Event()
        self._thread = threading.Thread(target=poll, args=(self._readings, self._stop), daemon=True)

    def __del__(self) -> None:
        self.stop()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        # Imported where it is needed, as not every run writes one.
        import csv

        with self._summary.open("w") as file:
            csv.writer(file).writerow((self._readings.newest or {}).values())


def poll(readings: Readings, stop: threading.Event) -> None:
    """The thread."""
    while not stop.is_set():
        readings.take()
        stop.wait(INTERVAL_S)
