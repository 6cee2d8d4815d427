"""The training process's copy of the newest reports; what was read once is kept whatever happens after."""

import logging
import pickle
import time
from collections.abc import Mapping
from dataclasses import replace

from pylon.monitor.process.messages import HealthReport
from pylon.monitor.status.failure import Failure
from pylon.monitor.status.health import MonitorHealth, ServerReport
from pylon.monitor.status.states import MonitorState

Reports = dict[str, dict[str, ServerReport]]

# One line per change of state, and from one server not more than one in so many seconds.
_LOG_SPACING_S = 10.0

logger = logging.getLogger("pylon.monitor")


class LatestReports:
    """Merges what the relay sends into what is known.

    A monitor that is replaced, or a Manager that is started again, has nothing to report at first: the last
    good status stays, with its time.
    """

    def __init__(self) -> None:
        self.reports: Reports = {}
        self._contents: dict[str, bytes] = {}
        self._log = _ServerLog()

    def take(self, contents: Mapping[str, bytes]) -> Reports:
        """Take pickled reports by monitor name; returns all that is known now, as a new dict."""
        known = dict(self.reports)
        for name, content in contents.items():
            if content == self._contents.get(name):
                continue
            self._contents[name] = content
            former = known.get(name, {})
            servers: dict[str, ServerReport] = pickle.loads(content)
            known[name] = former | {
                server: _merged(former.get(server), report) for server, report in servers.items()
            }
            self._log.note(name, former, known[name])
        self.reports = known
        return known


def _merged(former: ServerReport | None, report: ServerReport) -> ServerReport:
    kept = ServerReport() if former is None else former
    if report.status is None:
        return replace(report, status=kept.status, success_s=kept.success_s)
    if report.success_s == kept.success_s:
        # One server of many has changed, not this one: what was decoded once is not decoded again.
        return replace(report, status=kept.status)
    try:
        return replace(report, status=pickle.loads(report.status))
    except Exception as error:  # noqa: BLE001 - a user's class may fail in any way while it is unpickled
        return replace(
            report,
            status=kept.status,
            success_s=kept.success_s,
            consecutive_failures=kept.consecutive_failures + 1,
            last_error=Failure.of(error),
        )


class _ServerLog:
    """Logs when readings of a server begin to fail, fail in another way, or succeed again."""

    def __init__(self) -> None:
        self._logged: dict[tuple[str, str], tuple[str | None, float]] = {}

    def note(
        self, name: str, former: Mapping[str, ServerReport], current: Mapping[str, ServerReport]
    ) -> None:
        for server, report in current.items():
            kind = None if report.last_error is None else report.last_error.kind
            logged, logged_s = self._logged.get((name, server), (None, 0.0))
            now = time.monotonic()
            if kind == logged or (logged_s and now - logged_s < _LOG_SPACING_S):
                continue
            self._logged[name, server] = (kind, now)
            before = former.get(server)
            details = {"monitor": name, "server": server, "error_kind": kind}
            if report.last_error is None:
                logger.info("monitor %s, %s: readings succeed again", name, server, extra=details)
            else:
                since = " for the first time" if before is None or before.success_s is None else ""
                logger.warning(
                    "monitor %s, %s: reading failed%s: %s",
                    name,
                    server,
                    since,
                    report.last_error,
                    extra=details,
                )


def _why(report: MonitorHealth) -> str | None:
    if report.slowed_because is not None:
        return f"slowed down: {report.slowed_because}"
    if report.state is MonitorState.STALE:
        return "no reading has succeeded lately"
    if report.last_error is None or report.state is MonitorState.OK:
        return None
    return str(report.last_error)


class HealthLog:
    """Logs when a process changes its state or the limit that it is slowed down by, never once per tick."""

    def __init__(self) -> None:
        self._logged: dict[str, tuple[str | None, float]] = {}

    def note(self, former: HealthReport, current: HealthReport) -> None:
        """Log what is new in `current`. Changes of the limit have some time between them."""
        now = time.monotonic()
        for name, report in current.processes.items():
            before = former.processes.get(name)
            if before is None:
                continue
            limit, logged_s = self._logged.get(name, (before.slowed_by, -_LOG_SPACING_S))
            other_limit = report.slowed_by != limit and now - logged_s >= _LOG_SPACING_S
            if other_limit:
                self._logged[name] = (report.slowed_by, now)
            if other_limit or before.state is not report.state:
                _log(name, report)


def _log(name: str, report: MonitorHealth) -> None:
    calm = report.state in {MonitorState.OK, MonitorState.STARTING} and report.slowed_because is None
    why = _why(report)
    logger.log(
        logging.INFO if calm else logging.WARNING,
        "monitor %s: %s%s",
        name,
        report.state.value,
        f": {why}" if why else "",
        extra={"monitor": name, "state": report.state.value, "error": why},
    )
