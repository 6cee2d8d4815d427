"""A monitor whose thread asks the clock again and again whether the next reading is due."""

import threading
import time

from tests.shutdown.subjects.readings import Readings
from tests.shutdown.subjects.training import INTERVAL_S, options, train


class BusyMonitor:
    """Reads in a thread that never sleeps."""

    def __init__(self, readings: Readings) -> None:
        self.sampled, self.hung = readings.sampled, readings.hung
        self._readings = readings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stop.is_set():
            if time.monotonic() >= due_s:
                self._readings.take()
                due_s += INTERVAL_S


if __name__ == "__main__":
    chosen = options()
    train(BusyMonitor(Readings(gpu=chosen.gpu)), chosen)
