"""A monitor whose daemon thread prints a table with each reading, while nobody reads what it prints.

A terminal paused by Ctrl-S and a pager that waits do that. The thread sits in the write with the lock
of standard output; the interpreter, which wants to flush it at its end, aborts.
"""

import atexit
import resource
import sys
import threading
import time

from tests.shutdown.subjects.readings import Readings
from tests.shutdown.subjects.training import options, train

OFTEN_S = 0.01
ROWS = 64
SAVING_S = 1.5


class PrintingMonitor:
    """Reads and prints in a daemon thread."""

    def __init__(self, readings: Readings) -> None:
        self.sampled, self.hung = readings.sampled, readings.hung
        self._readings = readings

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        return

    def _run(self) -> None:
        while True:
            self._readings.take()
            for row in range(ROWS):
                sys.stdout.write(f"{row:4} {self._readings.newest}\n")
            sys.stdout.flush()
            time.sleep(OFTEN_S)


if __name__ == "__main__":
    # The abort that is shown would leave a core file in the working directory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What the run saves at its exit takes a moment, and in this moment the pipe fills.
    atexit.register(time.sleep, SAVING_S)
    chosen = options()
    train(PrintingMonitor(Readings(gpu=chosen.gpu)), chosen)
