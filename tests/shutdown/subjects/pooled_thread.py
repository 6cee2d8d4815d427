"""A monitor whose thread reads all servers at the same time, in an executor that it makes for each round.

Training ends without a word to it, as by an exception. The interpreter shuts all executors down
before it waits for threads, so that thread meets the end in the middle of its life.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.shutdown.subjects.readings import Readings
from tests.shutdown.subjects.training import options, train

SERVERS = 4
OFTEN_S = 0.2


class PooledMonitor:
    """Reads in an executor's threads, so that a slow server delays no other."""

    def __init__(self, readings: Readings) -> None:
        self.hung = readings.hung
        self._readings = readings
        self._rounds = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def sampled(self) -> bool:
        return self._rounds > 0

    def _run(self) -> None:
        while not self._stop.wait(OFTEN_S):
            with ThreadPoolExecutor(SERVERS) as executor:
                for future in [executor.submit(self._readings.take) for _ in range(SERVERS)]:
                    future.result()
            self._rounds += 1


if __name__ == "__main__":
    chosen = options()
    train(PooledMonitor(Readings(gpu=chosen.gpu)), chosen)
