"""Merging of reports in the training process: what was read once is kept, and the log stays readable."""

import itertools
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from pylon.monitor import MonitorState
from pylon.monitor.process import reports as newest
from pylon.monitor.process.messages import HealthReport
from pylon.monitor.process.reports import HealthLog, LatestReports
from pylon.monitor.status.failure import Failure
from pylon.monitor.status.health import MonitorHealth, ServerReport

SPACING_S = newest._LOG_SPACING_S


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 5.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(newest, "time", made)
    return made


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def told() -> Iterator[list[logging.LogRecord]]:
    kept, former = Kept(), newest.logger.level
    newest.logger.setLevel(logging.INFO)
    newest.logger.addHandler(kept)
    yield kept.records
    newest.logger.removeHandler(kept)
    newest.logger.setLevel(former)


def good(status: Any, success_s: float = 1.0, **more: Any) -> ServerReport:
    return ServerReport(success_s, status=pickle.dumps(status), **more)


def failed(kind: str = "OSError", failures: int = 1, **more: Any) -> ServerReport:
    return ServerReport(consecutive_failures=failures, last_error=Failure(kind, "no answer"), **more)


def content(**servers: ServerReport) -> bytes:
    return pickle.dumps(servers)


def take(reports: LatestReports, report: ServerReport, server: str = "localhost") -> ServerReport:
    return reports.take({"CPUMonitor": content(**{server: report})})["CPUMonitor"][server]


def test_nothing_is_known_at_first() -> None:
    assert LatestReports().take({}) == {}


def test_status_is_decoded() -> None:
    assert take(LatestReports(), good({"cpu": 1}, 7.0)) == ServerReport(7.0, status={"cpu": 1})


def test_newer_status_takes_the_place_of_the_former() -> None:
    reports = LatestReports()
    take(reports, good(1, 1.0))
    assert take(reports, good(2, 2.0)) == ServerReport(2.0, status=2)


def test_worker_that_was_replaced_has_nothing_to_tell_and_the_last_good_status_stays() -> None:
    reports = LatestReports()
    take(reports, good("last", 3.0, overruns=4))
    fresh = take(reports, ServerReport(busy_since_s=9.0))
    assert (fresh.status, fresh.success_s, fresh.busy_since_s) == ("last", 3.0, 9.0)
    assert fresh.overruns == 0, "that is the new process's own count"


def test_manager_that_was_replaced_is_empty_and_the_last_good_status_stays() -> None:
    reports = LatestReports()
    take(reports, good("last", 3.0))
    assert reports.take({})["CPUMonitor"]["localhost"] == ServerReport(3.0, status="last")


def test_failed_readings_keep_the_last_good_status() -> None:
    reports = LatestReports()
    take(reports, good("last", 3.0))
    after = take(reports, failed(failures=2))
    assert (after.status, after.success_s, after.consecutive_failures) == ("last", 3.0, 2)


def test_server_that_is_not_reported_any_more_keeps_what_was_known() -> None:
    reports = LatestReports()
    reports.take({"CPUMonitor": content(one=good(1), two=good(2))})
    known = reports.take({"CPUMonitor": content(one=good(3, 2.0))})["CPUMonitor"]
    assert {server: report.status for server, report in known.items()} == {"one": 3, "two": 2}


def test_monitors_do_not_touch_each_other() -> None:
    reports = LatestReports()
    reports.take({"CPUMonitor": content(localhost=good("cpu")), "GPUMonitor": content(localhost=good("gpu"))})
    known = reports.take({"GPUMonitor": content(localhost=failed())})
    assert known["CPUMonitor"]["localhost"].status == "cpu"
    assert known["GPUMonitor"]["localhost"].status == "gpu"


def test_former_result_is_not_changed_under_whoever_holds_it() -> None:
    reports = LatestReports()
    former = reports.take({"CPUMonitor": content(localhost=good(1))})
    reports.take({"CPUMonitor": content(localhost=good(2, 2.0))})
    assert former["CPUMonitor"]["localhost"].status == 1
    assert reports.reports["CPUMonitor"]["localhost"].status == 2


class Counted:
    decoded = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _count, ()


def _count() -> str:
    Counted.decoded += 1
    return "counted"


def test_unchanged_bytes_are_not_decoded_again() -> None:
    Counted.decoded = 0
    reports = LatestReports()
    same = content(localhost=good(Counted()))
    for _ in range(5):
        known = reports.take({"CPUMonitor": same})
    assert known["CPUMonitor"]["localhost"].status == "counted"
    assert Counted.decoded == 1


class Poison:
    def __reduce__(self) -> tuple[Any, ...]:
        return _break, ()


def _break() -> None:
    raise RuntimeError("poisoned")


def test_status_that_cannot_be_decoded_is_a_failure_of_that_reading_alone() -> None:
    reports = LatestReports()
    take(reports, good("last", 3.0))
    for failures in (1, 2):
        after = take(reports, good(Poison(), 4.0 + failures))
        assert (after.status, after.success_s, after.consecutive_failures) == ("last", 3.0, failures)
        assert after.last_error == Failure("RuntimeError", "poisoned")
    assert take(reports, good("well", 9.0)) == ServerReport(9.0, status="well")


def test_first_status_that_cannot_be_decoded_leaves_nothing_current() -> None:
    after = take(LatestReports(), ServerReport(3.0, status=b"\x80garbage"))
    assert (after.status, after.success_s, after.consecutive_failures) == (None, None, 1)
    assert after.last_error is not None


def test_start_without_failure_is_not_told(told: list[logging.LogRecord]) -> None:
    reports = LatestReports()
    take(reports, ServerReport())
    take(reports, good(1))
    assert told == []


def test_failure_is_told_at_once_and_once(told: list[logging.LogRecord], clock: Clock) -> None:
    reports = LatestReports()
    take(reports, good(1))
    for failures in range(1, 500):
        clock.now_s += 1.0
        take(reports, failed(failures=failures))
    (line,) = told
    assert line.levelno == logging.WARNING
    assert line.getMessage() == "monitor CPUMonitor, localhost: reading failed: OSError: no answer"
    assert (line.__dict__["monitor"], line.__dict__["server"]) == ("CPUMonitor", "localhost")
    assert line.__dict__["error_kind"] == "OSError"


def test_failure_before_any_success_says_so(told: list[logging.LogRecord], clock: Clock) -> None:
    take(LatestReports(), failed())
    assert "for the first time" in told[0].getMessage()


def test_recovery_is_told_once(told: list[logging.LogRecord], clock: Clock) -> None:
    reports = LatestReports()
    take(reports, failed())
    for second in range(50):
        clock.now_s += 1.0
        take(reports, good(second))
    assert [line.levelname for line in told] == ["WARNING", "INFO"]
    assert told[1].getMessage().endswith("readings succeed again")


def test_other_kind_of_failure_is_news(told: list[logging.LogRecord], clock: Clock) -> None:
    reports = LatestReports()
    take(reports, failed("OSError"))
    clock.now_s += SPACING_S
    take(reports, failed("ValueError"))
    assert [line.__dict__["error_kind"] for line in told] == ["OSError", "ValueError"]


def test_server_that_flaps_does_not_flood_the_log(told: list[logging.LogRecord], clock: Clock) -> None:
    reports = LatestReports()
    seconds = 200
    for tick in range(10 * seconds):
        clock.now_s += 0.1
        take(reports, failed(failures=tick) if tick % 2 else good(tick))
    assert 2 <= len(told) <= seconds / SPACING_S + 1


def test_change_that_came_too_soon_is_told_when_it_lasts(told: list[logging.LogRecord], clock: Clock) -> None:
    reports = LatestReports()
    take(reports, failed())
    clock.now_s += 1.0
    take(reports, good(1))
    assert len(told) == 1
    clock.now_s += SPACING_S
    take(reports, good(2))
    assert [line.levelname for line in told] == ["WARNING", "INFO"]


def test_servers_are_limited_each_for_itself(told: list[logging.LogRecord], clock: Clock) -> None:
    reports = LatestReports()
    for server in ("one", "two", "three"):
        take(reports, failed(), server)
    assert [line.__dict__["server"] for line in told] == ["one", "two", "three"]


def health(state: MonitorState, **more: Any) -> HealthReport:
    return HealthReport({"CPUMonitor": MonitorHealth(state, **more)})


def test_state_of_a_process_is_told_when_it_changes(told: list[logging.LogRecord]) -> None:
    error = Failure("hung", "a reading takes longer than 5 s")
    steps = [
        health(MonitorState.OK),
        health(MonitorState.UNREACHABLE, last_error=error),
        health(MonitorState.UNREACHABLE, last_error=error),
        health(MonitorState.RESTARTING, last_error=error),
        health(MonitorState.OK, last_error=error, restarts=1),
    ]
    log = HealthLog()
    for former, current in itertools.pairwise(steps):
        log.note(former, current)
    assert [(line.levelname, line.getMessage()) for line in told] == [
        ("WARNING", "monitor CPUMonitor: unreachable: hung: a reading takes longer than 5 s"),
        ("WARNING", "monitor CPUMonitor: restarting: hung: a reading takes longer than 5 s"),
        ("INFO", "monitor CPUMonitor: ok"),
    ]


def slowed(why: str, limit: str = "cpu_share", state: MonitorState = MonitorState.OK) -> HealthReport:
    return health(state, slowdown=4.0, slowed_because=why, slowed_by=limit)


def test_slowdown_and_its_end_are_told(told: list[logging.LogRecord], clock: Clock) -> None:
    log, over = HealthLog(), slowed("0.9 of a core, limit 0.5")
    log.note(health(MonitorState.OK), over)
    log.note(over, over)
    clock.now_s += SPACING_S
    log.note(over, health(MonitorState.OK))
    assert [(line.levelname, line.getMessage()) for line in told] == [
        ("WARNING", "monitor CPUMonitor: ok: slowed down: 0.9 of a core, limit 0.5"),
        ("INFO", "monitor CPUMonitor: ok"),
    ]


def test_figure_that_changes_each_time_is_told_once(told: list[logging.LogRecord], clock: Clock) -> None:
    reports = [slowed(f"0.{figure} of a core, limit 0.5") for figure in range(50, 99)]
    log = HealthLog()
    for former, current in itertools.pairwise([health(MonitorState.OK), *reports]):
        clock.now_s += 1.0
        log.note(former, current)
    assert [line.getMessage() for line in told] == [
        "monitor CPUMonitor: ok: slowed down: 0.50 of a core, limit 0.5"
    ]


def test_limits_in_turn_do_not_flood_the_log(told: list[logging.LogRecord], clock: Clock) -> None:
    log, seconds = HealthLog(), 200
    one, other = (
        slowed("0.9 of a core, limit 0.5"),
        slowed("300 MiB of memory, limit 256 MiB", "memory_bytes"),
    )
    for second in range(seconds):
        clock.now_s += 1.0
        log.note(*((one, other) if second % 2 else (other, one)))
    assert 2 <= len(told) <= seconds / SPACING_S + 1


def test_end_of_a_slowdown_that_came_too_soon_is_told_when_it_lasts(
    told: list[logging.LogRecord], clock: Clock
) -> None:
    log, calm, over = HealthLog(), health(MonitorState.OK), slowed("0.9 of a core, limit 0.5")
    log.note(calm, over)
    log.note(over, calm)
    assert len(told) == 1
    clock.now_s += SPACING_S
    log.note(calm, calm)
    assert [line.levelname for line in told] == ["WARNING", "INFO"]


def test_staleness_says_what_it_means(told: list[logging.LogRecord]) -> None:
    HealthLog().note(health(MonitorState.OK), health(MonitorState.STALE))
    assert told[0].getMessage() == "monitor CPUMonitor: stale: no reading has succeeded lately"


def test_process_that_appears_is_not_news(told: list[logging.LogRecord]) -> None:
    HealthLog().note(HealthReport(), health(MonitorState.STARTING))
    assert told == []
