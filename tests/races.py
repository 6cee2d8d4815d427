"""Tests that race: marked one by one, tried again alone, and counted.

`@pytest.mark.races(reason="...")` is for a test that kills or starts real processes and whose bound the
load of the machine may break once. If its first try fails, it is tried twice more, and both tries must
pass: a test that needs another try twice in one run is broken, not unlucky. The summary names each test
that needed one. More than two of them in one run fail the run, whatever their tries gave.

No other test is tried again.
"""

import pytest
from _pytest.runner import runtestprotocol

MOST_UNLUCKY = 2
_MORE_TRIES = 2
_PROPERTY = "needed another try"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "races(reason): tried twice more if its first try fails")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Count())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        mark = item.get_closest_marker("races")
        if mark is not None and (mark.args or set(mark.kwargs) != {"reason"} or not mark.kwargs["reason"]):
            raise pytest.UsageError(
                f'{item.nodeid}: the marker must say what races: @pytest.mark.races(reason="...")'
            )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    mark = item.get_closest_marker("races")
    if mark is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    first_failure = next((report for report in reports if report.failed), None)
    if first_failure is not None:
        note = f"{mark.kwargs['reason']}; first try: {_last_line(first_failure)}"
        item.user_properties.append((_PROPERTY, note))
        for _ in range(_MORE_TRIES):
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
            if any(report.failed for report in reports):
                break
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


class _Count:
    """Which tests needed another try, in the process that the user started: it gets all reports."""

    def __init__(self) -> None:
        self.unlucky: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, note in report.user_properties:
            if name == _PROPERTY:
                self.unlucky[report.nodeid] = str(note)
        if report.failed:
            self.unlucky.pop(report.nodeid, None)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if len(self.unlucky) > MOST_UNLUCKY and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.unlucky:
            return
        terminalreporter.section("tests that race and needed another try")
        for test, note in sorted(self.unlucky.items()):
            terminalreporter.line(f"{test}: {note}")
        if len(self.unlucky) > MOST_UNLUCKY:
            terminalreporter.line(
                f"FAILED: {len(self.unlucky)} such tests in one run, at most {MOST_UNLUCKY} are accepted",
                red=True,
            )


def _last_line(report: pytest.TestReport) -> str:
    lines = report.longreprtext.strip().splitlines()
    return lines[-1] if lines else "no text"
