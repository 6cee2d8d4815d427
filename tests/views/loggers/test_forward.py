"""A record is sent once, whatever ends the sender or its logger, and whenever."""

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pylon.recorder.history import HistoryAbsentError
from pylon.views.loggers import End, Entry, LoggerError, Run
from pylon.views.loggers.forward import Forward, Outcome, Wishes, place_of
from pylon.views.loggers.link import LinkError
from tests.views.loggers.records import BEGAN_AT, add_launch, all_entries


class Killed(BaseException):
    """The sender's process is killed."""


class Service:
    """What a service has, and the link to it; `fails` is called before and after each call takes effect.

    Args:
        by_number: it knows rows by their numbers, as W&B does; otherwise it is asked what it has.
        session: it has the entries only when it is closed.
    """

    def __init__(self, *, session: bool = False) -> None:
        self.rows: dict[int, Entry] = {}
        self.doubled: list[int] = []
        self.runs: set[str] = set()
        self.configuration: dict[str, Any] = {}
        self.opened = 0
        self.calls = 0
        self.session = session
        self._waiting: list[Entry] = []
        self.fails: Callable[[int], BaseException | None] = lambda call: None

    def open(self, run: Run, kept: dict[str, Any]) -> dict[str, Any]:
        self._meet()
        self.opened += 1
        self.runs.add(run.id)
        self.configuration = dict(run.configuration)
        self._meet()
        return {"opened": self.opened}

    def send(self, entries: Sequence[Entry], *, again: bool) -> dict[str, Any]:
        self._meet()
        for one in entries:
            self._waiting.append(one)
            if again and one.row in self.rows:
                self._waiting.pop()
        half = len(self._waiting) // 2
        if not self.session:
            self._take(half)
        self._meet()
        if not self.session:
            self._take(len(self._waiting))
        self._meet()
        return {"opened": self.opened}

    def close(self) -> dict[str, Any]:
        self._meet()
        self._take(len(self._waiting))
        self._meet()
        return {"opened": self.opened}

    def kill(self) -> None:
        self._waiting.clear()

    def _take(self, count: int) -> None:
        for one in self._waiting[:count]:
            if one.row in self.rows:
                self.doubled.append(one.row)
            self.rows[one.row] = one
        del self._waiting[:count]

    def _meet(self) -> None:
        self.calls += 1
        if (error := self.fails(self.calls)) is not None:
            raise error


def sender(
    record: Path,
    service: Service,
    *,
    follow: bool = False,
    runs: Callable[[], bool] = lambda: False,
    patience_s: float = 0.0,
    stopped: Callable[[float], bool] = lambda seconds: False,
    target: dict[str, Any] | None = None,
    since: float = math.inf,
) -> Forward:
    wishes = Wishes(follow, runs, patience_s, stopped, since)
    return Forward(record, "file", target or {}, service, wishes, by_closing=service.session)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "run/history.sqlite"
    add_launch(path, seconds=3200, width_s=40, ending=("killed", "sigkill"))
    return path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds, which pass only while something waits."""
    seconds = [0.0]
    there = SimpleNamespace(monotonic=lambda: seconds[0], time=time.time)
    monkeypatch.setattr("pylon.views.loggers.forward.time", there)
    monkeypatch.setattr("pylon.views.loggers.forward._NOTICE_S", 1e6)
    return seconds


def assert_complete(service: Service, record: Path) -> None:
    assert service.doubled == []
    assert [service.rows[row] for row in sorted(service.rows)] == all_entries(record)
    assert len(service.runs) == 1, "one run of the service"


@pytest.mark.parametrize("session", [False, True], ids=["at once", "by closing"])
def test_each_entry_is_sent_once_wherever_the_sender_is_killed(record: Path, session: bool) -> None:
    call = 0
    whole = Service(session=session)
    assert sender(record, whole).run() is Outcome.SENT
    for call in range(1, whole.calls + 1):
        place_of(record, "file").unlink()
        service = Service(session=session)
        service.fails = lambda number, at=call: Killed() if number == at else None
        with pytest.raises(Killed):
            sender(record, service).run()
        service.kill()
        assert sender(record, service).run() is Outcome.SENT
        assert_complete(service, record)
    assert call > 8, "there were several parts to be killed in"


@pytest.mark.parametrize("session", [False, True], ids=["at once", "by closing"])
def test_each_entry_is_sent_once_wherever_the_logger_fails(
    record: Path, session: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Service(session=session)
    sender(record, whole).run()
    for call in range(1, whole.calls + 1):
        place_of(record, "file").unlink()
        service = Service(session=session)
        service.fails = lambda number, at=call: LinkError("it hangs") if number == at else None
        monkeypatch.setattr("pylon.views.loggers.forward._FIRST_PAUSE_S", 0.0)
        assert sender(record, service, patience_s=60).run() is Outcome.SENT
        assert_complete(service, record)


def test_resumed_run_continues_as_the_same_run_of_the_service(record: Path) -> None:
    service = Service()
    sender(record, service).run()
    add_launch(record, begin_s=4000, first_step=3000, seconds=400, configuration={"epochs": 7})
    assert sender(record, service).run() is Outcome.SENT
    assert_complete(service, record)
    assert service.configuration == {"epochs": 7}
    assert sender(record, service).run() is Outcome.SENT
    assert service.opened == 2, "with nothing to send, the service is left alone"


def test_service_that_stays_down_is_given_up_with_the_reason_and_loses_nothing(
    record: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()
    service.fails = lambda number: LinkError("connection refused")
    forward = sender(record, service)
    with caplog.at_level(logging.INFO, "pylon.views.loggers"):
        assert forward.run() is Outcome.LEFT
    assert forward.problem == "connection refused"
    assert "file: not sent yet: connection refused" in caplog.text
    service.fails = lambda number: None
    assert sender(record, service).run() is Outcome.SENT
    assert_complete(service, record)


def test_password_of_an_option_is_in_no_file_and_no_message(
    record: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service, address = Service(), "http://alice:open-sesame@server:5000"
    service.fails = lambda number: LinkError(f"{address}/api is down")
    forward = sender(record, service, target={"tracking_uri": address})
    assert forward.run() is Outcome.LEFT
    assert "/api is down" in str(forward.problem)
    shown = f"{forward.problem} {caplog.text} {place_of(record, 'file').read_text()}"
    assert "open-sesame" not in shown


def test_what_cannot_get_better_is_not_tried_again(record: Path) -> None:
    service = Service()
    service.fails = lambda number: LinkError("no API key", permanent=True)
    with pytest.raises(LoggerError, match="file: no API key"):
        sender(record, service, patience_s=1e6).run()
    assert service.calls == 1


def test_run_is_followed_from_before_its_record_to_its_end(tmp_path: Path, clock: list[float]) -> None:
    record, service = tmp_path / "run/history.sqlite", Service()
    looks: list[int] = []

    def runs() -> bool:
        return len(looks) < 3

    def waits(seconds: float) -> bool:
        clock[0] += seconds
        if seconds > 0:
            looks.append(1)
            if len(looks) == 2:
                add_launch(record)
        return False

    assert sender(record, service, follow=True, runs=runs, stopped=waits).run() is Outcome.SENT
    assert_complete(service, record)
    assert isinstance(service.rows[max(service.rows)], End)


def test_sender_ends_with_the_launch_that_it_follows_though_its_program_goes_on(
    record: Path, clock: list[float]
) -> None:
    service, looks = Service(), []

    def waits(seconds: float) -> bool:
        clock[0] += seconds
        if seconds > 0:
            looks.append(1)
            if len(looks) == 3:
                add_launch(record, begin_s=4000, first_step=3000)
        return False

    follows = sender(record, service, follow=True, runs=lambda: True, stopped=waits, since=BEGAN_AT + 3500)
    assert follows.run() is Outcome.SENT
    assert len(looks) == 3, "the launch before is not the one"
    assert_complete(service, record)


def test_failing_service_is_tried_for_as_long_as_the_run_goes_on(record: Path, clock: list[float]) -> None:
    service, pauses = Service(), []
    service.fails = lambda number: LinkError("down") if number < 30 else None

    def waits(seconds: float) -> bool:
        clock[0] += seconds
        pauses.append(seconds)
        return False

    forward = sender(record, service, follow=True, runs=lambda: service.calls < 40, stopped=waits)
    assert forward.run() is Outcome.SENT
    assert max(pauses) <= 120, "the pauses have a limit"
    assert_complete(service, record)


def test_request_to_stop_closes_the_logger_and_leaves_the_rest(record: Path) -> None:
    service = Service(session=True)
    forward = sender(record, service, stopped=lambda seconds: bool(service._waiting))
    assert forward.run() is Outcome.LEFT
    assert service.rows, "what was given is sent"
    assert sender(record, service).run() is Outcome.SENT
    assert_complete(service, record)


def test_record_that_was_begun_in_the_place_of_another_is_another_run(record: Path) -> None:
    service = Service()
    sender(record, service).run()
    record.unlink()
    add_launch(record, begin_s=9000)
    sender(record, service).run()
    assert len(service.runs) == 2


def test_logger_with_other_arguments_gets_the_record_from_its_begin(record: Path) -> None:
    sender(record, Service()).run()
    service = Service()
    sender(record, service, target={"project": "other"}).run()
    assert_complete(service, record)


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 99}', '{"version": 1, "position": {}}'])
def test_damaged_position_is_named_with_the_fix_and_kept(record: Path, content: str) -> None:
    place = place_of(record, "file")
    place.parent.mkdir(parents=True)
    place.write_text(content)
    with pytest.raises(LoggerError, match=r"file\.json: .*Remove it to send the record from its begin"):
        sender(record, Service()).run()
    assert place.read_text() == content


def test_absent_record_is_an_error_if_nothing_is_about_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(HistoryAbsentError):
        sender(tmp_path / "history.sqlite", Service()).run()


def test_position_has_no_number_that_is_no_json(record: Path) -> None:
    sender(record, Service()).run()
    text = place_of(record, "file").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["entries"] == []
