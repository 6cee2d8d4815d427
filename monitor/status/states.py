"""States of a monitor and the moves between them."""

import enum


class MonitorState(enum.Enum):
    """Where a monitor is in its life.

    starting     its process runs, no report yet
    ok           it reports, and its server answers
    stale        it reports, but no reading succeeded lately
    unreachable  no answer since its limit: it is being replaced
    restarting   it ended or was replaced; the next process comes after a pause
    failed       its process can neither be used nor ended; nothing more is started for it
    stopping     the end was requested
    stopped      the end
    """

    STARTING = "starting"
    OK = "ok"
    STALE = "stale"
    UNREACHABLE = "unreachable"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


_S = MonitorState
_MOVES = {
    _S.STARTING: {_S.OK, _S.STALE, _S.UNREACHABLE, _S.RESTARTING, _S.STOPPING},
    _S.OK: {_S.STALE, _S.UNREACHABLE, _S.RESTARTING, _S.STOPPING},
    _S.STALE: {_S.OK, _S.UNREACHABLE, _S.RESTARTING, _S.STOPPING},
    _S.UNREACHABLE: {_S.RESTARTING, _S.FAILED, _S.STOPPING},
    _S.RESTARTING: {_S.STARTING, _S.STOPPING},
    _S.FAILED: {_S.RESTARTING, _S.STOPPING},
    _S.STOPPING: {_S.STOPPED},
    _S.STOPPED: set(),
}


def moved(current: MonitorState, target: MonitorState) -> MonitorState:
    """`target`, if it may follow `current` or is the same.

    Raises:
        ValueError: it may not: a bug of the supervisor, never a user's.
    """
    if target is not current and target not in _MOVES[current]:
        raise ValueError(f"a monitor cannot go from {current.value} to {target.value}")
    return target
