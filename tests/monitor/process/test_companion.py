"""The companion of a supervisor: what it sees of the monitors."""

import pickle
from typing import Any

import pytest

from pylon.monitor import Companion, SystemMonitor
from pylon.monitor.process.companion import HealthBoard
from pylon.monitor.status.health import MonitorHealth
from pylon.monitor.status.states import MonitorState


def test_the_board_shows_each_state_once() -> None:
    board = HealthBoard()
    assert board.read() == (0, None)
    board.write({"manager": MonitorHealth(MonitorState.OK)})
    seen, shown = board.read()
    assert shown == {"manager": MonitorHealth(MonitorState.OK)}
    assert board.read(seen) == (seen, None)


def test_a_board_that_is_being_written_shows_nothing() -> None:
    board = HealthBoard()
    board.write({"manager": MonitorHealth(MonitorState.OK)})
    board._numbers[0] += 1  # as the supervisor leaves it that is killed in the middle
    assert board.read()[1] is None


def test_what_does_not_fit_leaves_the_former_state() -> None:
    board = HealthBoard()
    board.write({"a": MonitorHealth(MonitorState.OK)})
    board.write({"x" * 100_000: MonitorHealth(MonitorState.OK)})
    assert list(board.read()[1] or {}) == ["a"]


def nothing(_arguments: Any, _context: Any) -> None: ...


def test_a_companion_is_named_by_its_function_and_comes_before_the_start() -> None:
    companion = Companion("one", nothing, {"a": 1}, 0)
    spec = companion.spec()
    assert (spec.module, spec.function, pickle.loads(spec.arguments)) == (__name__, "nothing", {"a": 1})
    with SystemMonitor(gpu=False) as monitor, pytest.raises(RuntimeError, match="before `start`"):
        monitor.accompany(companion)
