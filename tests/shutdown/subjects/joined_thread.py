"""A monitor whose thread is asked to end and joined, as a careful author does it."""

import threading
import time

from tests.shutdown.subjects.readings import Readings
from tests.shutdown.subjects.training import INTERVAL_S, options, train


class JoinedMonitor:
    """Reads in a thread; `stop` waits for it."""

    def __init__(self, readings: Readings) -> None:
        self.sampled, self.hung = readings.sampled, readings.hung
        self._readings = readings
        self._stopping = False
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._readings.take()
            time.sleep(INTERVAL_S)


if __name__ == "__main__":
    chosen = options()
    train(JoinedMonitor(Readings(gpu=chosen.gpu)), chosen)
