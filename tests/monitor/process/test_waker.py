"""A thread that waits for descriptors is woken by others, whatever the program does to its descriptors."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylon.monitor.process.pipes import Waker

# Far beyond what a wake needs, far below the time that the wait would take without it.
SOON_S = 5.0
LONG_S = 30.0


@pytest.fixture
def waker() -> Iterator[Waker]:
    made = Waker()
    made.open()
    yield made
    made.close()


def descriptors() -> set[int]:
    return {int(one.name) for one in Path("/proc/self/fd").iterdir()}


def took_s(waker: Waker) -> float:
    began = time.monotonic()
    waker.wait_for((), LONG_S)
    return time.monotonic() - began


def test_another_thread_ends_the_wait(waker: Waker) -> None:
    timer = threading.Timer(0.1, waker.wake)
    timer.start()
    assert took_s(waker) < SOON_S
    timer.join()


def test_a_wake_that_comes_before_the_wait_is_not_lost(waker: Waker) -> None:
    for _ in range(3):
        waker.wake()
    assert took_s(waker) < SOON_S


def test_several_wakes_end_one_wait(waker: Waker) -> None:
    for _ in range(3):
        waker.wake()
    waker.wait_for((), LONG_S)
    began = time.monotonic()
    assert waker.wait_for((), 0.1) == []
    assert time.monotonic() - began >= 0.09


def test_a_wake_never_waits_itself(waker: Waker) -> None:
    # More than a pipe holds.
    for _ in range(70_000):
        waker.wake()
    assert took_s(waker) < SOON_S


def test_what_is_readable_is_named(waker: Waker) -> None:
    reading, writing = os.pipe()
    try:
        assert reading not in waker.wait_for((reading,), 0)
        os.write(writing, b"x")
        assert reading in waker.wait_for((reading,), LONG_S)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_file_that_got_the_number_of_a_closed_descriptor_is_not_written(tmp_path: Path) -> None:
    before = descriptors()
    waker = Waker()
    waker.open()
    taken = descriptors() - before
    try:
        for number in taken:
            # As a program does that closes all it finds; its own file gets the number.
            file = os.open(tmp_path / str(number), os.O_RDWR | os.O_CREAT)
            os.dup2(file, number)
            os.close(file)
        waker.wake()
        assert {path.read_bytes() for path in tmp_path.iterdir()} == {b""}
        waker.wait_for((), 0)
        waker.wake()
        assert took_s(waker) < SOON_S, "a new pipe has taken the place of the lost one"
        waker.close()
        assert taken <= descriptors(), "the program's files are still open"
    finally:
        for number in taken:
            os.close(number)


def test_descriptors_are_given_back() -> None:
    before = descriptors()
    waker = Waker()
    waker.open()
    waker.close()
    waker.close()
    waker.wake()
    assert descriptors() == before
