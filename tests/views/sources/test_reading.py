"""Records that are read by a thread of their own: what fails or hangs there is seen, and holds up nothing."""

import threading
from pathlib import Path

import pytest

from pylon.views.sources import reading
from pylon.views.sources.board import RunBoard, Runs
from pylon.views.sources.reading import RunReader
from tests.faults.harness import wait_until


def test_a_look_that_fails_is_named_and_the_next_one_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = threading.Event()
    fails.set()

    def refresh(_board: RunBoard) -> Runs:
        if fails.is_set():
            raise MemoryError("no room")
        return Runs(left_out=3)

    monkeypatch.setattr(RunBoard, "refresh", refresh)
    reader = RunReader([tmp_path], 0.01)
    reader.start()
    try:
        assert reader.wait(10.0)
        assert reader.runs.problems == ("runs: MemoryError: no room",)
        fails.clear()
        wait_until(lambda: reader.runs == Runs(left_out=3), 10, "the next look")
        fails.set()
        wait_until(lambda: reader.runs.problems != (), 10, "the failure")
        assert reader.runs.left_out == 3, "what was known stays"
    finally:
        reader.stop()


def test_a_look_that_hangs_holds_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release, hangs = threading.Event(), threading.Event()

    def refresh(_board: RunBoard) -> Runs:
        hangs.set()
        release.wait(20.0)
        return Runs()

    monkeypatch.setattr(RunBoard, "refresh", refresh)
    reader = RunReader([tmp_path], 0.01)
    reader.start()
    try:
        assert hangs.wait(10.0)
        assert not reader.wait(0.05)
        assert reader.runs == Runs()
        monkeypatch.setattr(reading, "_LATE_S", 0.01)
        (problem,) = reader.runs.problems
        assert problem.startswith("records have not been read since ")
        assert problem.endswith(": their file system may hang")
        reader.stop()
    finally:
        release.set()


def test_without_paths_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LATE_S", -1.0)
    reader = RunReader([], 0.01)
    reader.start()
    assert reader.wait(0.0)
    assert reader.runs == Runs()
