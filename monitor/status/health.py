"""How a monitor itself is, told from outside: a loop that is blocked cannot report that it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pylon.monitor.process.client import MonitorClient
from pylon.monitor.process.messages import ProcessReport, ServerReport
from pylon.monitor.status import age_s
from pylon.monitor.status.failure import Failure
from pylon.monitor.status.states import MonitorState


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """How readings of one server go.

    Attributes:
        last_success_age_s: seconds since the newest reading that succeeded; None before the first.
        consecutive_failures: readings that failed since.
        last_error: the newest failure; None after a success.
        busy_for_s: how long the reading under way has taken; None between readings.
        reading_s: duration of the newest reading; None before the first.
        overruns: ticks skipped because a reading took longer than the interval.
    """

    last_success_age_s: float | None
    consecutive_failures: int
    last_error: Failure | None
    busy_for_s: float | None
    reading_s: float | None
    overruns: int


@dataclass(frozen=True, slots=True)
class MonitorHealth:
    """How one monitor is.

    Attributes:
        state: see MonitorState.
        pid: its process; None while there is none.
        restarts: how often it was replaced.
        last_error: why, the last time.
        slowdown: by what its interval is multiplied: more than 1 after it was over its limits.
        slowed_because: the limit it was over; None where it was not.
        no_answer_for_s: seconds since its last sign of life, while that is overdue.
        servers: per server.
    """

    state: MonitorState
    pid: int | None = None
    restarts: int = 0
    last_error: Failure | None = None
    no_answer_for_s: float | None = None
    slowdown: float = 1.0
    slowed_because: str | None = None
    servers: Mapping[str, ServerHealth] = field(default_factory=dict)


def monitor_health(client: MonitorClient | None, name: str) -> MonitorHealth:
    """The health of monitor `name`; STOPPED where nothing was started."""
    if client is None:
        return MonitorHealth(MonitorState.STOPPED)
    process = client.process_reports().get(name, ProcessReport(MonitorState.STARTING))
    if client.state in {MonitorState.STOPPING, MonitorState.STOPPED}:
        process = ProcessReport(client.state, None, process.restarts, process.error)
    servers = {server: _server_health(report) for server, report in client.reports.get(name, {}).items()}
    return MonitorHealth(
        process.state,
        process.pid,
        process.restarts,
        process.error,
        _since(process.no_answer_since_s),
        process.slowdown,
        process.slowed_because,
        servers,
    )


def _server_health(report: ServerReport) -> ServerHealth:
    return ServerHealth(
        last_success_age_s=_since(report.success_s),
        consecutive_failures=report.failures,
        last_error=report.error,
        busy_for_s=_since(report.busy_since_s),
        reading_s=report.duration_s,
        overruns=report.overruns,
    )


def _since(monotonic_s: float | None) -> float | None:
    return None if monotonic_s is None else age_s(monotonic_s)
