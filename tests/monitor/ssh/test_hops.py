"""Through other servers, and through a program: each host key is checked, each login is ours, all ends."""

import os
import time

import psutil
import pytest

from pylon.monitor.ssh import (
    ChannelRefusedError,
    DeadlineError,
    HostKeyChangedError,
    HostKeyUnknownError,
    LoginRefusedError,
    ProxyError,
    UnreachableError,
    open_channel,
)
from tests.monitor.ssh.helpers import failure, nothing_left, settings_for
from tests.monitor.ssh.sshd import Sshd, free_port, make_key

pytestmark = pytest.mark.ci


@pytest.fixture
def three(tmp_path):
    """Three servers with keys of their own."""
    key = make_key(tmp_path / "key")
    with (
        Sshd(tmp_path / "a", authorized=[key]) as first,
        Sshd(tmp_path / "b", authorized=[key]) as second,
        Sshd(tmp_path / "c", authorized=[key]) as third,
        nothing_left(),
    ):
        yield first, second, third


def config_for(three, tmp_path, known=("a", "b", "c"), extra="", target_extra=""):
    servers = dict(zip("abc", three, strict=True))
    (tmp_path / "known").write_text("".join(servers[one].known_hosts([f"host-{one}"]) for one in known))
    blocks = "".join(
        f"Host {name}\n  HostName 127.0.0.1\n  Port {one.port}\n  HostKeyAlias host-{name}\n"
        for name, one in servers.items()
    )
    (tmp_path / "config").write_text(
        f"{extra}Host c\n{target_extra or '  ProxyJump a,b'}\n{blocks}Host *\n  User {three[0].user}\n"
        f"  IdentityFile {tmp_path / 'key'}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
        f"  UserKnownHostsFile {tmp_path / 'known'}\n  GlobalKnownHostsFile none\n"
    )
    return tmp_path / "config"


def logins(server: Sshd) -> int:
    return server.log().count("Accepted publickey")


def test_two_hops(three, tmp_path) -> None:
    channel = open_channel(settings_for(config_for(three, tmp_path), "c"), b"echo $SSH_CONNECTION; cat")
    assert channel.receive(20).split()[-1] == str(three[2].port).encode()
    for _ in range(3):
        channel.send(b"x" * 100_000, 20)
        got = 0
        while got < 100_000:
            got += len(channel.receive(20))
    assert [logins(one) for one in three] == [1, 1, 1]
    began = time.monotonic()
    channel.close()
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("unknown", ["a", "b", "c"])
def test_host_key_of_every_hop_is_checked(unknown, three, tmp_path) -> None:
    known = [one for one in "abc" if one != unknown]
    error = failure(settings_for(config_for(three, tmp_path, known), "c"), HostKeyUnknownError)
    assert f"host-{unknown}" in str(error)
    # Nobody behind it hears of us.
    assert [logins(one) for one in three] == [int(one < unknown) for one in "abc"]


def test_changed_key_in_the_middle(three, tmp_path) -> None:
    config = config_for(three, tmp_path)
    three[1].change_host_keys()
    assert "host-b" in str(failure(settings_for(config, "c"), HostKeyChangedError))


def test_login_refused_in_the_middle(three, tmp_path) -> None:
    make_key(tmp_path / "stranger")
    extra = f"Host b\n  IdentityFile {tmp_path / 'stranger'}\nHost a c\n"
    config = config_for(three, tmp_path, extra=extra)
    config.write_text(config.read_text().replace(f"  IdentityFile {tmp_path / 'key'}\n", ""))
    text = config.read_text().replace("Host a c\n", f"Host a c\n  IdentityFile {tmp_path / 'key'}\n")
    config.write_text(text)
    error = failure(settings_for(config, "c"), LoginRefusedError)
    assert str(error).startswith("b: login")


def test_hop_that_forwards_nothing(tmp_path) -> None:
    with Sshd(tmp_path / "d", options={"AllowTcpForwarding": "no"}) as sshd, nothing_left():
        config = sshd.client_config(extra="Host target\n  ProxyJump 127.0.0.1\nHost *\n")
        error = failure(settings_for(config, "target"), ChannelRefusedError)
        assert "prohibited" in str(error)


def test_nobody_behind_the_hop(shared_sshd, tmp_path) -> None:
    extra = f"Host target\n  ProxyJump 127.0.0.1\n  HostName 127.0.0.1\n  Port {free_port()}\n"
    config = shared_sshd.client_config(tmp_path / "config", extra=extra)
    with nothing_left():
        failure(settings_for(config, "target"), UnreachableError)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_one_deadline_for_all_hops(frozen, three, tmp_path) -> None:
    config = config_for(three, tmp_path)
    three[frozen].freeze()
    failure(settings_for(config, "c"), DeadlineError, deadline_s=1)
    three[frozen].thaw()


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_channel_over_a_frozen_hop_closes_in_time(frozen, three, tmp_path) -> None:
    channel = open_channel(settings_for(config_for(three, tmp_path), "c"), b"cat")
    three[frozen].freeze()
    began = time.monotonic()
    with pytest.raises(DeadlineError):
        channel.send(b"x" * 30_000_000, 1)
    assert time.monotonic() - began < 1.5
    began = time.monotonic()
    channel.close()
    assert time.monotonic() - began < 1
    three[frozen].thaw()


PROXY = "  ProxyCommand {}\n  HostKeyAlias host-c"


@pytest.fixture
def relay(tmp_path):
    """A program that passes on between its standard streams and a TCP connection."""
    path = tmp_path / "relay.py"
    path.write_text(
        "import os, socket, sys, threading\n"
        "end = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while data := os.read(0, 65536):\n"
        "        end.sendall(data)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while data := end.recv(65536):\n"
        "    os.write(1, data)\n"
    )
    return f"python3 {path} %h %p"


def relays() -> int:
    """How many of them run, or were not waited for."""
    return sum(is_relay(one) for one in psutil.Process().children())


def is_relay(process: psutil.Process) -> bool:
    # One that was not waited for has no command line any more.
    return process.status() == psutil.STATUS_ZOMBIE or any("relay.py" in one for one in process.cmdline())


def test_proxy_command(three, relay, tmp_path) -> None:
    config = config_for(three, tmp_path, target_extra=PROXY.format(relay))
    channel = open_channel(settings_for(config, "c"), b"cat")
    channel.send(b"x" * 300_000, 20)
    got = 0
    while got < 300_000:
        got += len(channel.receive(20))
    assert relays() == 1
    channel.close()
    assert relays() == 0


def test_proxy_command_as_openssh_runs_it(three, tmp_path) -> None:
    config = config_for(
        three, tmp_path, target_extra=PROXY.format(f"ssh -F {tmp_path / 'config'} -W %h:%p b")
    )
    open_channel(settings_for(config, "c"), b"cat").close()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sh -c 'echo no route >&2; exit 3'", "ended with status 3: no route"),
        ("/no/such/program %h", "No such file or directory|not found"),
        ("kill -9 $$", "ended with status"),
        ("sh -c 'head -c 300000 /dev/zero | tr \"\\0\" x >&2; exit 1'", "ended with status 1: ...x"),
    ],
)
def test_proxy_command_that_fails(command, words, three, tmp_path) -> None:
    config = config_for(three, tmp_path, target_extra=PROXY.format(command))
    error = failure(settings_for(config, "c"), ProxyError)
    assert any(one in str(error) for one in words.split("|")), error
    assert len(str(error)) < 500


def test_proxy_command_that_hangs_and_will_not_end(three, tmp_path) -> None:
    seconds = f"1000.{os.getpid()}"
    stubborn = f"sh -c 'trap \"\" TERM HUP; sleep {seconds} & sleep 1001; sleep 1002'"
    config = config_for(three, tmp_path, target_extra=PROXY.format(stubborn))
    failure(settings_for(config, "c"), DeadlineError, deadline_s=1)
    time.sleep(0.1)
    assert not [one for one in psutil.process_iter(["cmdline"]) if seconds in (one.info["cmdline"] or [])]


def test_proxy_command_that_talks_on_and_on_does_not_stop(three, relay, tmp_path) -> None:
    command = f"sh -c '(while :; do echo noise; sleep 0.001; done >&2) & {relay}; kill $!'"
    config = config_for(three, tmp_path, target_extra=PROXY.format(command))
    channel = open_channel(settings_for(config, "c"), b"cat")
    for _ in range(20):
        channel.send(b"hello", 20)
        assert channel.receive(20) == b"hello"
        time.sleep(0.02)
    channel.close()
