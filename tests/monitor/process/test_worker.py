"""One server is read on a fixed rhythm; what a reading does wrong costs that reading alone."""

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pylon.monitor.cpu import CPUMonitor
from pylon.monitor.process.heartbeat import Heartbeat
from pylon.monitor.process.reading import ServerReader
from pylon.monitor.process.stop_event import EventFdEvent
from pylon.monitor.process.worker import load_monitor
from tests.faults.harness import wait_until

INTERVAL_S = 0.05


class Readings:
    """A monitor whose readings are done by a function of their number, counted from 1."""

    def __init__(self, read: Callable[[int], Any], interval_s: float = INTERVAL_S) -> None:
        self.interval_s = interval_s
        self.times_s: list[float] = []
        self._read = read

    def _spread_s(self, server: str) -> float:
        return 0.0

    def _update_single_server(self, server: str) -> Any:
        self.times_s.append(time.monotonic())
        return self._read(len(self.times_s))


@contextmanager
def reading(monitor: Any, heartbeat: Heartbeat | None = None) -> Iterator[ServerReader]:
    stop = threading.Event()
    reader = ServerReader(monitor, "localhost", stop, heartbeat or Heartbeat(), EventFdEvent())
    reader.start()
    yield reader
    stop.set()
    reader.join(10)
    assert not reader.is_alive(), "the reader ends when it is asked to"


def fails_from_the_third_on(number: int) -> int:
    if number >= 3:
        raise OSError(5, "Input/output error")
    return number


def test_failures_are_counted_and_the_last_good_status_is_kept() -> None:
    with reading(Readings(fails_from_the_third_on)) as reader:
        wait_until(lambda: reader.report.consecutive_failures >= 2, 10, "two failures in a row")
        report = reader.report
    assert pickle.loads(report.status) == 2
    assert report.last_error is not None
    assert "Input/output error" in report.last_error.text


def test_a_success_ends_the_failures() -> None:
    def fails_twice(number: int) -> int:
        return number if number > 2 else fails_from_the_third_on(3)

    with reading(Readings(fails_twice)) as reader:
        wait_until(lambda: reader.report.status is not None, 10, "a status")
        report = reader.report
    assert (report.consecutive_failures, report.last_error) == (0, None)


@pytest.mark.parametrize(
    ("status", "words"), [(lambda: None, "pickle"), (b"x" * 2**19, "bytes")], ids=["a function", "too large"]
)
def test_a_status_that_cannot_be_sent_is_a_failed_reading(status: Any, words: str) -> None:
    with reading(Readings(lambda _: status)) as reader:
        wait_until(lambda: reader.report.consecutive_failures >= 2, 10, "readings go on")
        report = reader.report
    assert report.status is None
    assert report.last_error is not None
    assert words in report.last_error.text


def test_ticks_that_a_long_reading_missed_are_counted_and_not_made_up_for() -> None:
    def long_once(number: int) -> int:
        time.sleep(6 * INTERVAL_S if number == 1 else 0)
        return number

    monitor = Readings(long_once)
    with reading(monitor) as reader:
        wait_until(lambda: len(monitor.times_s) >= 4, 10, "four readings")
    # A machine under load may miss more.
    assert reader.report.overruns >= 5
    pauses = [later - former for former, later in zip(monitor.times_s, monitor.times_s[1:], strict=False)]
    assert pauses[0] >= 6 * INTERVAL_S
    assert min(pauses[1:]) > 0, "no burst of readings"
    assert sum(pauses[1:3]) > INTERVAL_S


def test_a_worker_over_its_limits_reads_more_slowly() -> None:
    slowed = Heartbeat()
    slowed.slowdown = 8.0
    monitor = Readings(lambda number: number)
    with reading(monitor, slowed):
        wait_until(lambda: len(monitor.times_s) >= 3, 20, "three readings")
    assert monitor.times_s[2] - monitor.times_s[0] > 8 * INTERVAL_S


def test_a_reading_under_way_is_seen() -> None:
    go_on = threading.Event()
    with reading(Readings(lambda _: go_on.wait(20))) as reader:
        wait_until(lambda: reader.report.busy_since_s is not None, 10, "a reading begins")
        go_on.set()
        wait_until(lambda: reader.report.success_s is not None, 10, "it ends")


def test_a_monitor_is_made_with_the_arguments_of_its_original() -> None:
    made = load_monitor(CPUMonitor(interval_s=7.5).spec())
    assert isinstance(made, CPUMonitor)
    assert made.interval_s == 7.5
