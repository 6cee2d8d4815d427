"""Where a monitor may go from where it is."""

import contextlib
import itertools

import pytest

from pylon.monitor import MonitorState
from pylon.monitor.status.states import moved

_S = MonitorState
ALLOWED = {
    (_S.STARTING, _S.OK),
    (_S.STARTING, _S.STALE),
    (_S.STARTING, _S.UNREACHABLE),
    (_S.STARTING, _S.RESTARTING),
    (_S.OK, _S.STALE),
    (_S.OK, _S.UNREACHABLE),
    (_S.OK, _S.RESTARTING),
    (_S.STALE, _S.OK),
    (_S.STALE, _S.UNREACHABLE),
    (_S.STALE, _S.RESTARTING),
    (_S.UNREACHABLE, _S.RESTARTING),
    (_S.UNREACHABLE, _S.FAILED),
    (_S.RESTARTING, _S.STARTING),
    (_S.FAILED, _S.RESTARTING),
    (_S.STOPPING, _S.STOPPED),
    *((state, _S.STOPPING) for state in _S if state is not _S.STOPPED),
    *((state, state) for state in _S),
}
REFUSED = sorted(set(itertools.product(_S, _S)) - ALLOWED, key=str)


@pytest.mark.parametrize(("current", "target"), sorted(ALLOWED, key=str))
def test_allowed_move_is_made(current: MonitorState, target: MonitorState) -> None:
    assert moved(current, target) is target


@pytest.mark.parametrize(("current", "target"), REFUSED)
def test_other_move_is_refused_and_named(current: MonitorState, target: MonitorState) -> None:
    with pytest.raises(ValueError, match=f"from {current.value} to {target.value}"):
        moved(current, target)


def moves_from(current: MonitorState) -> set[MonitorState]:
    """Where the code under test lets a monitor go."""
    found = set()
    for target in _S:
        with contextlib.suppress(ValueError):
            found.add(moved(current, target))
    return found


def test_a_stopped_monitor_never_moves_again() -> None:
    assert moves_from(_S.STOPPED) == {_S.STOPPED}


def test_every_state_can_be_reached_from_the_start() -> None:
    reached = {_S.STARTING}
    for _ in _S:
        reached |= {target for current in reached for target in moves_from(current)}
    assert reached == set(_S)


@pytest.mark.parametrize("state", sorted(set(_S) - {_S.STOPPED}, key=str))
def test_every_other_state_can_be_stopped(state: MonitorState) -> None:
    assert _S.STOPPING in moves_from(state)
    assert _S.STOPPED in moves_from(_S.STOPPING)
