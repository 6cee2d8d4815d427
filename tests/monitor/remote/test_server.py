"""One reading of a server: in time whatever comes, and never an answer to another question."""

import time
from collections.abc import Callable, Iterator

import pytest

from pylon.monitor.remote import server as module
from pylon.monitor.remote.connect_limiter import ConnectLimiter
from pylon.monitor.remote.connection import KeptConnection
from pylon.monitor.remote.errors import FloodError, NoAnswerError, RejectedAnswerError
from pylon.monitor.remote.far import RemoteStatuses, far_script
from pylon.monitor.remote.server import RemoteServer, Rhythm
from pylon.monitor.ssh import ConnectionClosedError
from tests.faults.harness import wait_until
from tests.monitor.links import Dialer, ScriptedLink, ShellLink, frame

pytestmark = pytest.mark.slow

TIMEOUT_S = 0.3

Made = Callable[..., RemoteServer]


@pytest.fixture
def make() -> Iterator[Made]:
    """A server over prepared links."""
    connections: list[KeptConnection] = []

    def made(*links: object, slow_interval_s: float = 10.0, timeout_s: float = TIMEOUT_S) -> RemoteServer:
        connection = KeptConnection("far", Dialer(*links), ConnectLimiter(4, 4, 0.0))
        connection.start()
        connections.append(connection)
        return RemoteServer(
            "far", connection, Rhythm(1.0, timeout_s, slow_interval_s, gpu=True), RemoteStatuses(10)
        )

    yield made
    for connection in connections:
        connection.close()


def test_real_far_shell_answers_as_a_local_monitor_does(make: Made) -> None:
    link = ShellLink()
    server = make(link, timeout_s=30.0)
    server.read()
    time.sleep(0.1)
    status = server.read()
    assert status.cpu.sample.memory_total_bytes
    assert status.cpu.sample.cpu_percent is not None
    assert status.host_key == link.host_key
    assert status.hostname


def test_script_is_sent_once_and_slow_figures_are_asked_for_rarely(make: Made) -> None:
    link = ScriptedLink()
    server = make(link, slow_interval_s=0.2)
    for _ in range(3):
        server.read()
    assert link.sent[0].startswith(far_script())
    assert [b"slow" in one for one in link.sent] == [True, False, False]
    assert not any(one.startswith(far_script()) for one in link.sent[1:])
    time.sleep(0.25)
    server.read()
    assert b"slow" in link.sent[-1]


def test_late_answer_is_dropped_and_never_taken_for_the_next(make: Made) -> None:
    link = ScriptedLink(lambda sequence: None if sequence == 2 else frame(sequence))
    server = make(link)
    assert server.read().far_uptime_s == 101
    with pytest.raises(NoAnswerError, match=r"far: no answer for 0\.3 s"):
        server.read()
    link.give(frame(2))
    assert server.read().far_uptime_s == 103
    assert not link.closed


def test_unanswered_request_is_not_followed_by_more(make: Made) -> None:
    link = ScriptedLink(lambda sequence: None)
    server = make(link)
    for _ in range(3):
        with pytest.raises(NoAnswerError):
            server.read()
    assert len(link.sent) == 1, "requests would pile up at a server that hangs"


def test_silent_server_fails_each_reading_in_time_and_is_connected_again_at_last(
    make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_ANSWER_WITHIN_S", 0.5)
    silent, well = ScriptedLink(lambda sequence: None), ScriptedLink()
    server = make(silent, well)
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(NoAnswerError):
            server.read()
        assert time.monotonic() - began < TIMEOUT_S + 0.3
    assert silent.closed
    wait_until(lambda: _reads(server), 5, "the next connection answers")


def test_flood_costs_one_reading_and_its_connection(make: Made) -> None:
    flood, well = ScriptedLink(lambda sequence: b"spam\n" * 2**20), ScriptedLink()
    server = make(flood, well)
    with pytest.raises(FloodError, match="far: more than"):
        server.read()
    assert flood.closed
    wait_until(lambda: _reads(server), 5, "the next connection answers")


@pytest.mark.parametrize(
    ("damaged", "problem"),
    [
        (b"%PYLON 9 2 10 1 1.0 - -\n", "version"),
        (frame(2).replace(b"%END 2", b"%END 1"), "no_end"),
        (frame(2).replace(b"0.50", b"\xff\xfe\xfd\xfc"), "not_text"),
        (frame(7), "unasked"),
        (frame(1), "reordered"),
    ],
)
def test_answer_that_is_none_is_named_and_the_next_is_used(make: Made, damaged: bytes, problem: str) -> None:
    link = ScriptedLink(lambda sequence: damaged if sequence == 2 else frame(sequence))
    server = make(link)
    server.read()
    with pytest.raises(RejectedAnswerError, match=problem):
        server.read()


def test_greeting_before_the_first_answer_is_no_trouble(make: Made) -> None:
    link = ScriptedLink()
    link.later.append(b"Welcome!\r\nYou have mail.\r\n" * 30)
    assert make(link).read().far_uptime_s == 101


def test_what_a_shell_without_our_language_reports_is_in_the_error(make: Made) -> None:
    link = ScriptedLink(lambda sequence: b"This account is currently not available.\n")
    with pytest.raises(NoAnswerError, match="This account is currently"):
        make(link).read()


def test_connection_that_ends_is_made_again_with_its_reason_reported(make: Made) -> None:
    first, second = ScriptedLink(), ScriptedLink()
    server = make(first, second)
    server.read()
    first.close()
    with pytest.raises(ConnectionClosedError):
        server.read()
    wait_until(lambda: _reads(server), 5, "connected again")
    assert second.sent[0].startswith(far_script())


def test_heartbeat_is_sent_where_readings_are_rare(make: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    link = ScriptedLink()
    server = make(link)
    server.keep_alive()
    server.read()
    server.keep_alive()
    assert len(link.sent) == 1, "a request has just been sent"
    monkeypatch.setattr(module, "_HEARTBEAT_EVERY_S", 0.0)
    server.keep_alive()
    assert link.sent[-1] == b"H\n"
    link.close()
    server.keep_alive()
    with pytest.raises(ConnectionClosedError):
        server.read()


def _reads(server: RemoteServer) -> bool:
    try:
        server.read()
    except (NoAnswerError, FloodError, ConnectionClosedError):
        return False
    return True
