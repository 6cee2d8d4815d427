"""Whether a process is in trouble, judged by its heartbeat alone: it is never asked."""

from collections.abc import Sequence

from pylon.monitor.process.child import Child
from pylon.monitor.process.messages import MonitorSpec
from pylon.monitor.status.failure import ProcessFailure
from pylon.monitor.status.states import MonitorState

_STARTING_WITHIN_S = 20.0
# The first reading may load a driver: without persistence mode that takes seconds per GPU.
_FIRST_READING_FACTOR = 4
_LATE_INTERVALS = 1.5


Verdict = tuple[ProcessFailure, str]


def trouble(child: Child, now: float, silent_after_s: float, timeout_s: float) -> Verdict | None:
    """Why `child` must be replaced; None where it need not be.

    Args:
        child: relay or worker.
        now: monotonic seconds.
        silent_after_s: how long its main thread may give no sign of life.
        timeout_s: how long one reading may take.
    """
    if not child.running:
        return None
    beat = child.heartbeat
    if not beat.ready_s:
        # On a machine with far too much to do, reading the modules alone takes seconds.
        late = child.overdue(now, _STARTING_WITHIN_S)
        return (ProcessFailure.NOT_STARTED, f"not within {_STARTING_WITHIN_S:g} s") if late else None
    if not beat.waiting_since_s and now - beat.alive_s > silent_after_s:
        return ProcessFailure.SILENT, f"no sign of life for {silent_after_s:g} s"
    limit_s = timeout_s if beat.success_s else _FIRST_READING_FACTOR * timeout_s
    if beat.busy_since_s and now - beat.busy_since_s > limit_s:
        return ProcessFailure.HUNG, f"a reading takes longer than {limit_s:g} s"
    over = child.restrain(now)
    return None if over is None else (ProcessFailure.OVER_LIMIT, over)


def calm_for_s(
    workers: Sequence[tuple[Child, MonitorSpec]], others: Sequence[Child], now: float, timeout_s: float
) -> float:
    """For how long no process need be judged; 0 while one starts, ends, waits, reads or reports nothing.

    What begins now is seen half a time-out later, before it can have taken too long.
    """
    calm = all(_is_calm(child) for child in (*others, *(worker for worker, _ in workers)))
    if not calm or any(
        now - worker.heartbeat.success_s > _LATE_INTERVALS * monitor.interval_s * worker.heartbeat.slowdown
        for worker, monitor in workers
    ):
        return 0.0
    return min([timeout_s / 2, *(min(one.interval_s, one.timeout_s / 2) for _, one in workers)])


def _is_calm(child: Child) -> bool:
    under_way = child.heartbeat.busy_since_s or child.heartbeat.waiting_since_s
    return child.running and child.state is MonitorState.OK and not under_way


def blame(manager: Child, clients: Sequence[Child], now: float, timeout_s: float) -> Child | None:
    """Who is to be replaced because a call to the Manager takes longer than `timeout_s`; None: no process.

    The Manager, unless it has answered another process since that call began: then the caller itself
    does not come round. A Manager may serve the connections that it has and accept no other: so for a
    caller that is not connected yet, only a connection that was accepted since is an answer.
    """
    if not manager.running:
        return None
    for client in clients:
        since_s = client.heartbeat.waiting_since_s
        if not client.running or not since_s or now - since_s <= timeout_s:
            continue
        others = [other.heartbeat for other in clients if other is not client]
        connected = bool(client.heartbeat.connected_s)
        answers = (other.answered_s if connected else other.connected_s for other in others)
        return client if max(answers, default=0.0) > since_s else manager
    return None
