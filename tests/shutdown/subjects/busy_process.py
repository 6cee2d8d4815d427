"""A monitor in a process of its own, which looks at its Event and at the clock without ever waiting."""

import multiprocessing
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any

from tests.shutdown.subjects.readings import Readings
from tests.shutdown.subjects.training import INTERVAL_S, options, train


class BusyProcessMonitor:
    """Reads in a process that never sleeps; samples come back through a queue."""

    def __init__(self, *, gpu: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._samples: Queue[Any] = context.Queue()
        self._stop = context.Event()
        self._process = context.Process(target=poll, args=(self._stop, self._samples, gpu), daemon=True)

    def start(self) -> None:
        self._process.start()

    def stop(self) -> None:
        self._stop.set()
        self._process.join()

    def sampled(self) -> bool:
        return not self._samples.empty()

    def hung(self) -> bool:
        return False


def poll(stop: Event, samples: "Queue[Any]", gpu: bool) -> None:
    """The process."""
    readings = Readings(gpu=gpu)
    due_s = time.monotonic()
    while not stop.is_set():
        if time.monotonic() >= due_s:
            readings.take()
            samples.put(readings.newest)
            due_s += INTERVAL_S


if __name__ == "__main__":
    chosen = options()
    train(BusyProcessMonitor(gpu=chosen.gpu), chosen)
