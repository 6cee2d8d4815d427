"""A connection made beside the readings, and made anew: when, how often, and what is told meanwhile."""

import threading
import time
from collections.abc import Iterator

import pytest

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.remote import connection as module
from pylon.monitor.remote.connect_limiter import ConnectLimiter
from pylon.monitor.remote.connection import KeptConnection
from pylon.monitor.remote.errors import ClosedHereError, ConnectingError
from pylon.monitor.ssh import HostKeyChangedError, LoginRefusedError, UnreachableError
from tests.faults.harness import wait_until
from tests.monitor.links import Dialer, ScriptedLink


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr(module, "pause_s", lambda failures, generator: 0.02)
    monkeypatch.setattr(module, "_LOOK_FOR_CHANGES_EVERY_S", 0.02)


@pytest.fixture
def kept() -> Iterator[list[KeptConnection]]:
    """Connections to be closed at the end."""
    connections: list[KeptConnection] = []
    yield connections
    for one in connections:
        one.close()


def started(kept: list[KeptConnection], dialer: Dialer) -> KeptConnection:
    connection = KeptConnection("far", dialer, ConnectLimiter(4, 4, 0.0))
    kept.append(connection)
    connection.start()
    return connection


def soon() -> float:
    return time.monotonic() + 5.0


def test_first_reading_waits_for_the_first_try(kept: list[KeptConnection]) -> None:
    link = ScriptedLink()
    connection = started(kept, Dialer(link, takes_s=0.1))
    assert connection.link(soon()) is link


def test_reading_is_over_in_time_while_the_first_try_hangs(kept: list[KeptConnection]) -> None:
    connection = started(kept, Dialer(ScriptedLink(), takes_s=1.0))
    began = time.monotonic()
    with pytest.raises(ConnectingError, match="far: connecting for"):
        connection.link(time.monotonic() + 0.1)
    assert time.monotonic() - began < 0.5


def test_failed_try_is_reported_at_once_and_made_again_by_itself(kept: list[KeptConnection]) -> None:
    link = ScriptedLink()
    dialer = Dialer(UnreachableError("far: refused"), link)
    connection = started(kept, dialer)
    with pytest.raises(UnreachableError, match="refused"):
        connection.link(soon())
    wait_until(lambda: len(dialer.calls) == 2, 5, "a second try")
    wait_until(lambda: _linked(connection), 5, "connected")


@pytest.mark.parametrize(
    "error",
    [HostKeyChangedError("changed"), LoginRefusedError("refused"), MonitorSettingError("ssh_config:3")],
)
def test_permanent_error_is_not_tried_again_until_the_user_acts(
    kept: list[KeptConnection], error: Exception
) -> None:
    link = ScriptedLink()
    dialer = Dialer(error, link)
    connection = started(kept, dialer)
    for _ in range(20):
        with pytest.raises(type(error)):
            connection.link(soon())
        time.sleep(0.01)
    assert len(dialer.calls) == 1, "more tries could lock the account"
    dialer.acted = True
    wait_until(lambda: _linked(connection), 5, "connected after the user acted")
    assert len(dialer.calls) == 2


def test_dropped_link_is_closed_and_replaced_and_its_error_told_meanwhile(kept: list[KeptConnection]) -> None:
    first, second = ScriptedLink(), ScriptedLink()
    connection = started(kept, Dialer(first, second, takes_s=0.1))
    assert connection.link(soon()) is first
    connection.drop(first, UnreachableError("far: reset"))
    assert first.closed
    with pytest.raises(UnreachableError, match="reset"):
        connection.link(soon())
    wait_until(lambda: _linked(connection), 5, "connected again")
    assert connection.link(soon()) is second
    connection.drop(first, UnreachableError("late"))
    assert connection.link(soon()) is second, "an error of an old link is no reason to drop the new one"


def test_close_wakes_readings_and_closes_a_link_that_comes_late(kept: list[KeptConnection]) -> None:
    link = ScriptedLink()
    connection = started(kept, Dialer(link, takes_s=0.2))
    threading.Timer(0.05, connection.close).start()
    with pytest.raises(ClosedHereError):
        connection.link(soon())
    wait_until(lambda: link.closed, 5, "the late link is closed")


def test_pauses_grow_with_failures_and_begin_again_after_a_good_connection(
    kept: list[KeptConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    monkeypatch.setattr(module, "pause_s", lambda failures, generator: counted.append(failures) or 0.01)
    links = [ScriptedLink(), ScriptedLink(), ScriptedLink()]
    error = UnreachableError("far")
    connection = started(kept, Dialer(error, error, *links))
    for number, link in enumerate(links[:2]):
        wait_until(lambda: _linked(connection), 5, "connected")
        if number:
            monkeypatch.setattr(module, "_HEALTHY_AFTER_S", 0.0)
        connection.drop(link, error)
    wait_until(lambda: _linked(connection), 5, "connected")
    assert counted == [1, 2, 3, 1]


def test_gate_bounds_connects_under_way_and_spaces_their_starts() -> None:
    gate, closed = ConnectLimiter(3, 1, 0.01), threading.Event()
    inside: list[int] = []
    most: list[int] = []
    starts: list[float] = []

    def connect() -> None:
        with gate.passage(closed, again=False) as may:
            assert may
            starts.append(time.monotonic())
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    threads = [threading.Thread(target=connect) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(starts) == 12
    assert max(most) <= 3
    assert max(starts) - min(starts) >= 11 * 0.005


def test_servers_that_hang_again_and_again_do_not_keep_first_tries_waiting() -> None:
    gate, closed = ConnectLimiter(1, 1, 0.0), threading.Event()
    with gate.passage(closed, again=True) as may:
        assert may
        began = time.monotonic()
        with gate.passage(closed, again=False) as first:
            assert first
        assert time.monotonic() - began < 1


def test_gate_lets_nobody_through_once_the_monitor_ends() -> None:
    gate, closed = ConnectLimiter(1, 1, 0.0), threading.Event()
    with gate.passage(closed, again=False):
        closed.set()
        with gate.passage(closed, again=False) as may:
            assert not may
    with gate.passage(closed, again=False) as may:
        assert not may


def _linked(connection: KeptConnection) -> bool:
    try:
        connection.link(time.monotonic())
    except (UnreachableError, ConnectingError, LoginRefusedError, HostKeyChangedError, MonitorSettingError):
        return False
    return True
