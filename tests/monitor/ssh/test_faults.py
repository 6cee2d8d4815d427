"""What a server or the network does wrong: each is named, in time, and leaves nothing behind."""

import socket
import time

import paramiko
import pytest

from pylon.monitor.ssh import (
    ChannelRefusedError,
    ConnectionClosedError,
    DeadlineError,
    HostKeyPolicy,
    LoginRefusedError,
    NoAddressError,
    NoNameServerError,
    ProtocolError,
    RefusedError,
    UnreachableError,
    open_channel,
)
from tests.monitor.ssh import scripted_server as scripts
from tests.monitor.ssh.fault_proxy import FaultProxy, Faults, never_accepts
from tests.monitor.ssh.helpers import failure, nothing_left, plain_settings, settings_for
from tests.monitor.ssh.sshd import Sshd, free_port

pytestmark = pytest.mark.ci

ACCEPT_NEW = HostKeyPolicy.ACCEPT_NEW


@pytest.fixture(autouse=True)
def leaves_nothing(shared_sshd, client_key):
    with nothing_left():
        yield


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (scripts.silent, DeadlineError),
        (scripts.drips, DeadlineError),
        (scripts.chats, DeadlineError),
        (scripts.stalls_in_kex, DeadlineError),
        (scripts.floods_banner, ProtocolError),
        (scripts.floods_in_kex, ProtocolError),
        (scripts.speaks_http, ProtocolError),
        (scripts.speaks_ssh1, ProtocolError),
        (scripts.refuses_at_once, ConnectionClosedError),
    ],
)
def test_what_answers_is_no_proper_server(script, kind, client_key, tmp_path) -> None:
    with scripts.serving(script) as port:
        failure(plain_settings(port, client_key, tmp_path / "known"), kind, deadline_s=1.5)


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        ({"login": "refuse"}, LoginRefusedError, "none of 1 keys is accepted"),
        ({"login": "stall"}, DeadlineError, "login"),
        ({"login": "hang up"}, ConnectionClosedError, "login"),
        ({"login": "partial"}, LoginRefusedError, "in addition"),
        ({"login": "password only"}, LoginRefusedError, "takes password"),
        ({"channel": "refuse"}, ChannelRefusedError, "prohibited"),
        ({"channel": "stall"}, DeadlineError, "start of the command"),
        ({"run": "refuse"}, ChannelRefusedError, "does not run"),
        ({"run": "stall"}, DeadlineError, "start of the command"),
    ],
)
def test_server_goes_wrong_after_the_greeting(behaviour, kind, words, client_key, tmp_path) -> None:
    server = scripts.Behaviour(**behaviour)
    with scripts.serving(server.script) as port:
        settings = plain_settings(port, client_key, tmp_path / "known")
        error = failure(settings, kind, deadline_s=1.5, policy=ACCEPT_NEW)
    assert words in str(error), error
    assert server.connections == 1
    assert server.logins <= 1


@pytest.mark.parametrize("login", ["refuse", "partial"])
def test_login_methods_steer_no_terminal_and_forge_no_line(login, client_key, tmp_path) -> None:
    methods = "password\x1b[2J\x07\nINFO finished\r,\u202ekeyboard"
    server = scripts.Behaviour(login=login, methods=methods)
    with scripts.serving(server.script) as port:
        settings = plain_settings(port, client_key, tmp_path / "known")
        error = failure(settings, LoginRefusedError, policy=ACCEPT_NEW)
    assert "INFO finished" in str(error), "the methods are shown at all"
    assert str(error).isprintable()


def test_nothing_but_a_plain_command_is_asked_for(client_key, tmp_path) -> None:
    server = scripts.Behaviour()
    with scripts.serving(server.script) as port:
        channel = open_channel(plain_settings(port, client_key, tmp_path / "known"), b"x", policy=ACCEPT_NEW)
        channel.send(b"hello", 20)
        assert channel.receive(20) == b"hello"
        channel.close()
    assert server.features == []


def test_flood_is_bounded_by_the_window(client_key, tmp_path) -> None:
    server = scripts.Behaviour(run="flood")
    with scripts.serving(server.script) as port:
        channel = open_channel(plain_settings(port, client_key, tmp_path / "known"), b"x", policy=ACCEPT_NEW)
        until = time.monotonic() + 20
        while channel.bytes_received < 200_000 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.3)
        assert channel.bytes_received < 300_000
        assert len(channel.receive(1)) == 65536
        channel.close()


def test_flood_without_a_window_is_cut(client_key, tmp_path) -> None:
    server = scripts.Behaviour(run="flood without window")
    with scripts.serving(server.script) as port, pytest.raises(ProtocolError, match="without a request"):
        settings = plain_settings(port, client_key, tmp_path / "known")
        channel = open_channel(settings, b"x", policy=ACCEPT_NEW)
        time.sleep(2)
        assert channel.bytes_received < 5_000_000
        while True:
            channel.receive(1)


def test_last_words_are_kept_bounded_and_clean(client_key, tmp_path) -> None:
    server = scripts.Behaviour(run="talk on stderr")
    with scripts.serving(server.script) as port:
        channel = open_channel(plain_settings(port, client_key, tmp_path / "known"), b"x", policy=ACCEPT_NEW)
        until = time.monotonic() + 10
        # What comes may be cut anywhere until all of it has come.
        while not channel.last_words.endswith("nvidia-smi: not found") and time.monotonic() < until:
            channel.receive(0.05)
        assert channel.last_words.endswith("nvidia-smi: not found")
        assert len(channel.last_words) < 400
        assert channel.last_words.isprintable()
        channel.close()


def test_end_of_the_command_is_named_with_its_last_words(client_key, tmp_path) -> None:
    server = scripts.Behaviour(run="exit")
    with scripts.serving(server.script) as port:
        channel = open_channel(plain_settings(port, client_key, tmp_path / "known"), b"x", policy=ACCEPT_NEW)
        with pytest.raises(ConnectionClosedError, match=r"status 127: no such shell"):
            while True:
                channel.receive(20)
        assert channel.closed


def test_nobody_listens(client_key, tmp_path) -> None:
    error = failure(plain_settings(free_port(), client_key, tmp_path / "known"), RefusedError, within_s=0.5)
    assert "refused" in str(error)
    assert not error.permanent
    assert error.lasting, "an answer, for which no command waits"


def test_address_never_answers(client_key, tmp_path) -> None:
    with never_accepts() as (_, port):
        settings = plain_settings(port, client_key, tmp_path / "known")
        failure(settings, DeadlineError, deadline_s=1)


def test_connect_timeout_ends_before_the_deadline(client_key, tmp_path) -> None:
    with never_accepts() as (_, port):
        settings = plain_settings(port, client_key, tmp_path / "known", connect_timeout_s=0.5)
        failure(settings, UnreachableError, deadline_s=10, within_s=0.5)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (socket.EAI_NONAME, NoAddressError),
        (socket.EAI_NODATA, NoAddressError),
        (socket.EAI_AGAIN, NoNameServerError),
        (socket.EAI_FAIL, NoNameServerError),
    ],
)
def test_unknown_name(client_key, tmp_path, monkeypatch, number, kind) -> None:
    def refusing(*_, **__):
        raise socket.gaierror(number, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", refusing)
    settings = plain_settings(22, client_key, tmp_path / "known", host="no-such-host.invalid")
    assert "'no-such-host.invalid' has no address: no such name" in str(failure(settings, kind))


def test_resolver_that_hangs_takes_one_thread_however_often_it_is_asked(
    client_key, tmp_path, monkeypatch
) -> None:
    import threading

    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(20) and [])
    settings = plain_settings(22, client_key, tmp_path / "known", host="slow.invalid")
    for _ in range(3):
        failure(settings, DeadlineError, deadline_s=0.2)
    assert sum(one.name == "look up slow.invalid" for one in threading.enumerate()) == 1
    release.set()


def test_name_that_could_not_be_looked_up_for_lack_of_a_thread_is_looked_up_again(
    client_key, tmp_path, monkeypatch, no_room_for_threads
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    settings = plain_settings(22, client_key, tmp_path / "known", host="later.invalid")
    with no_room_for_threads(), pytest.raises(RuntimeError, match="new thread"):
        open_channel(settings, b"true", deadline_s=1.0)
    with pytest.raises(Exception, match="no connection to port 22"):
        open_channel(settings, b"true", deadline_s=1.0)


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        (Faults(hole=True), DeadlineError),
        (Faults(reset_after=100), ConnectionClosedError),
        (Faults(cut_after=10), ConnectionClosedError),
        (Faults(cut_after=1500), ConnectionClosedError),
        (Faults(hold_after=60), DeadlineError),
        (Faults(hold_after=1500), DeadlineError),
        (Faults(bytes_per_s=1), DeadlineError),
        (Faults(first_delay_s=10), DeadlineError),
    ],
)
def test_network_fails_during_the_connection(faults, kind, shared_sshd) -> None:
    config = shared_sshd.client_config()
    with FaultProxy(("127.0.0.1", shared_sshd.port)) as proxy:
        proxy.faults = faults
        failure(through(proxy, config), kind, deadline_s=1.5)


def test_slow_network_is_none_of_these(shared_sshd) -> None:
    config = shared_sshd.client_config()
    with FaultProxy(("127.0.0.1", shared_sshd.port)) as proxy:
        proxy.faults = Faults(delay_s=0.2)
        channel = open_channel(through(proxy, config), b"cat", deadline_s=20)
        channel.send(b"hello", 20)
        assert channel.receive(20) == b"hello"
        channel.close()


@pytest.mark.parametrize("fault", ["reset", "cut", "half open", "hole"])
def test_network_fails_while_the_command_runs(fault, shared_sshd) -> None:
    config = shared_sshd.client_config()
    with FaultProxy(("127.0.0.1", shared_sshd.port)) as proxy:
        channel = open_channel(through(proxy, config), b"cat")
        channel.send(b"hello", 20)
        assert channel.receive(20) == b"hello"
        if fault == "reset":
            proxy.reset()
        elif fault == "cut":
            proxy.faults = Faults(cut_after=1)
            channel.send(b"hello", 20)
        elif fault == "half open":
            proxy.half_open()
        else:
            proxy.faults = Faults(hole=True)
        began = time.monotonic()
        if fault in {"reset", "cut"}:
            with pytest.raises(ConnectionClosedError):
                while True:
                    channel.receive(20)
            assert time.monotonic() - began < 1
        else:
            # Nobody can tell it from a server that has nothing to say.
            assert channel.receive(0.5) == b""
            assert 0.4 < time.monotonic() - began < 1
        began = time.monotonic()
        channel.close()
        assert time.monotonic() - began < 1


def test_send_to_a_server_that_reads_nothing_ends_in_time(shared_sshd) -> None:
    config = shared_sshd.client_config()
    with FaultProxy(("127.0.0.1", shared_sshd.port)) as proxy:
        channel = open_channel(through(proxy, config), b"cat")
        proxy.faults = Faults(hole=True)
        began = time.monotonic()
        with pytest.raises(DeadlineError):
            channel.send(b"x" * 20_000_000, 1)
        assert time.monotonic() - began < 1.5
        assert channel.closed


def test_frozen_server_before_and_after_the_login(sshd: Sshd) -> None:
    settings = settings_for(sshd.client_config())
    channel = open_channel(settings, b"cat")
    sshd.freeze()
    channel.send(b"hello", 20)
    assert channel.receive(0.3) == b""
    failure(settings, DeadlineError, deadline_s=1)
    sshd.thaw()
    assert channel.receive(20) == b"hello"
    channel.close()


def occupied(port: int) -> socket.socket:
    """A connection that takes the only place; the one that looked whether sshd was up may still have it."""
    until = time.monotonic() + 10
    while True:
        occupant = socket.create_connection(("127.0.0.1", port))
        if occupant.recv(100).startswith(b"SSH-"):
            return occupant
        occupant.close()
        assert time.monotonic() < until, "sshd never let go of its first connection"


def test_max_startups_reached(tmp_path) -> None:
    with Sshd(tmp_path / "d", options={"MaxStartups": "1", "LoginGraceTime": "30"}) as sshd:
        with occupied(sshd.port):
            error = failure(settings_for(sshd.client_config()), ConnectionClosedError, within_s=1)
            assert not error.permanent
        # `MaxStartups` counts it until sshd has noticed that it went.
        until = time.monotonic() + 10
        while True:
            try:
                open_channel(settings_for(sshd.client_config()), b"cat").close()
                break
            except ConnectionClosedError:
                assert time.monotonic() < until


def test_max_sessions_reached(tmp_path) -> None:
    with Sshd(tmp_path / "d", options={"MaxSessions": "0"}) as sshd:
        error = failure(settings_for(sshd.client_config()), ChannelRefusedError)
        assert not error.permanent


def test_connection_that_dies_between_two_lines_of_paramiko_waits_for_no_event(
    client_key, tmp_path, monkeypatch
) -> None:
    # exec_command clears the event that the end of the connection had set, then waits for it.
    original = paramiko.Channel._event_pending

    def dies_first(channel) -> None:
        transport = channel.get_transport()
        transport.close()
        transport.join(2)
        original(channel)

    server = scripts.Behaviour()
    with scripts.serving(server.script) as port:
        monkeypatch.setattr(paramiko.Channel, "_event_pending", dies_first)
        settings = plain_settings(port, client_key, tmp_path / "known")
        failure(settings, DeadlineError, deadline_s=1, policy=ACCEPT_NEW)
        monkeypatch.undo()


def through(proxy: FaultProxy, config):
    """Settings that lead through the proxy to the server of `config`."""
    from dataclasses import replace

    return replace(settings_for(config), port=proxy.port)
