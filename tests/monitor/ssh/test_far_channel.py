"""What the caller talks through: it never waits longer than it was told, and closes from any thread."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import paramiko
import pytest

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh import ConnectionClosedError, open_channel
from tests.monitor.ssh.helpers import nothing_left, settings_for
from tests.monitor.ssh.sshd import Sshd

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def leaves_nothing(shared_sshd):
    with nothing_left():
        yield


@pytest.fixture
def settings(shared_sshd):
    return settings_for(shared_sshd.client_config())


def test_receive_waits_for_the_first_byte_and_no_longer(settings) -> None:
    channel = open_channel(settings, b"sleep 0.3; printf one; cat")
    began = time.monotonic()
    assert channel.receive(20) == b"one"
    assert 0.1 < time.monotonic() - began < 1
    for timeout_s in (0.0, 0.2):
        began = time.monotonic()
        assert channel.receive(timeout_s) == b""
        assert time.monotonic() - began < timeout_s + 0.1
    channel.close()


def test_much_both_ways(settings) -> None:
    channel = open_channel(settings, b"cat")
    data = bytes(range(256)) * 8000
    got: list[bytes] = []

    def receive() -> None:
        while sum(map(len, got)) < len(data):
            got.append(channel.receive(20))

    thread = threading.Thread(target=receive)
    thread.start()
    channel.send(data, 10)
    thread.join(20)
    assert b"".join(got) == data
    assert channel.bytes_sent > len(data) < channel.bytes_received
    channel.close()


@pytest.mark.parametrize("by", ["the server", "us"])
def test_new_keys_in_mid_stream(by, tmp_path, monkeypatch) -> None:
    # What happens to a connection that lives for months.
    options = {"RekeyLimit": "1M"} if by == "the server" else {}
    if by == "us":
        monkeypatch.setattr(paramiko.Packetizer, "REKEY_BYTES", 1_000_000)
    exchanges: list[paramiko.Transport] = []
    original = paramiko.Transport._activate_outbound

    def counted(transport) -> None:
        exchanges.append(transport)
        original(transport)

    monkeypatch.setattr(paramiko.Transport, "_activate_outbound", counted)
    with Sshd(tmp_path / "d", options=options) as sshd:
        channel = open_channel(settings_for(sshd.client_config()), b"cat")
        for _ in range(50):
            channel.send(b"x" * 100_000, 20)
            got = 0
            while got < 100_000:
                got += len(channel.receive(20))
        channel.close()
    assert len(exchanges) > 3


def test_closed_by_another_thread_while_it_receives(settings) -> None:
    channel = open_channel(settings, b"cat")
    threading.Timer(0.2, channel.close).start()
    began = time.monotonic()
    with pytest.raises(ConnectionClosedError, match="closed here"):
        channel.receive(20)
    assert time.monotonic() - began < 1
    with pytest.raises(ConnectionClosedError, match="closed here"):
        channel.receive(1)
    with pytest.raises(ConnectionClosedError, match="closed here"):
        channel.send(b"x", 20)
    channel.close()


def test_closed_by_another_thread_while_it_sends(settings) -> None:
    channel = open_channel(settings, b"sleep 100")
    threading.Timer(0.3, channel.close).start()
    began = time.monotonic()
    with pytest.raises(ConnectionClosedError, match="closed here"):
        channel.send(b"x" * 50_000_000, 20)
    assert time.monotonic() - began < 1.5


def test_command_ends_when_the_channel_is_closed(sshd: Sshd) -> None:
    channel = open_channel(settings_for(sshd.client_config()), b"echo $$; exec cat")
    channel.receive(20)
    assert sshd.sessions()
    channel.close()
    until = time.monotonic() + 5
    while sshd.sessions() and time.monotonic() < until:
        time.sleep(0.02)
    assert not sshd.sessions()


def test_server_that_goes_away_is_named(sshd: Sshd) -> None:
    channel = open_channel(settings_for(sshd.client_config()), b"cat")
    sshd.cut()
    with pytest.raises(ConnectionClosedError, match="the command or the connection ended"):
        channel.receive(20)
    assert channel.closed


def test_end_of_the_command_is_named(settings) -> None:
    channel = open_channel(settings, b"echo out; echo 'what went wrong' >&2; exit 3")
    assert channel.receive(20) == b"out\n"
    with pytest.raises(ConnectionClosedError, match="ended with status 3: what went wrong"):
        channel.receive(20)


def test_status_that_comes_after_the_end_of_the_output_is_named(settings) -> None:
    channel = open_channel(settings, b"echo out; exec >&- 2>&-; sleep 0.2; exit 3")
    assert channel.receive(20) == b"out\n"
    with pytest.raises(ConnectionClosedError, match="ended with status 3"):
        channel.receive(20)


@pytest.mark.parametrize("does", ["reads", "writes"])
def test_words_of_an_account_that_runs_no_commands_are_named(does, settings) -> None:
    # As nologin and the like print them: to standard output.
    channel = open_channel(settings, b"echo 'This account is not available.'; exit 1")
    with pytest.raises(ConnectionClosedError, match=r"status 1: This account is not available\.$"):
        while True:
            if does == "reads":
                channel.receive(20)
            else:
                channel.send(b"x", 20)


def test_output_of_a_command_that_has_answered_is_no_reason(settings) -> None:
    channel = open_channel(settings, b"seq 1000; exit 3")
    with pytest.raises(ConnectionClosedError, match=r"ended with status 3\.$"):
        while True:
            channel.receive(20)


def test_many_at_once(settings) -> None:
    channels = []
    threads = [
        threading.Thread(target=lambda: channels.append(open_channel(settings, b"cat", deadline_s=30)))
        for _ in range(20)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(40)
    assert len(channels) == 20
    for one in channels:
        one.send(b"x", 20)
    assert [one.receive(20) for one in channels] == [b"x"] * 20
    began = time.monotonic()
    for one in channels:
        one.close()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_deadline_out_of_range(value, settings) -> None:
    with pytest.raises(MonitorSettingError, match="deadline_s"):
        open_channel(settings, b"cat", deadline_s=value)


def test_paramiko_is_loaded_by_the_first_connection_and_not_before() -> None:
    code = (
        "import sys, pylon.monitor, pylon.monitor.ssh as ssh; assert 'paramiko' not in sys.modules\n"
        "import dataclasses\n"
        "try: ssh.open_channel(ssh.SSHSettings('x', '127.0.0.1', 1, 'x'), b'')\n"
        "except ssh.UnreachableError: pass\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=60, check=True)


def test_nothing_is_written_to_standard_error_by_a_failure() -> None:
    code = (
        "import socket, pylon.monitor.ssh as ssh\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "settings = ssh.SSHSettings('x', '127.0.0.1', listener.getsockname()[1], 'x')\n"
        "try: ssh.open_channel(settings, b'', deadline_s=0.3)\n"
        "except ssh.DeadlineError: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, timeout=60, check=True, capture_output=True
    )
    assert done.stderr == b""


def test_process_ends_at_once_after_a_failed_greeting() -> None:
    # paramiko's timer of the greeting would keep it for 15 s.
    code = (
        "import socket, threading, time, pylon.monitor.ssh as ssh\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "def serve():\n"
        "    end = listener.accept()[0]; end.sendall(b'SSH-2.0-x\\r\\n'); time.sleep(60)\n"
        "threading.Thread(target=serve, daemon=True).start()\n"
        "settings = ssh.SSHSettings('x', '127.0.0.1', listener.getsockname()[1], 'x')\n"
        "try: ssh.open_channel(settings, b'', deadline_s=0.5)\n"
        "except ssh.DeadlineError: pass\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=6, check=True)
