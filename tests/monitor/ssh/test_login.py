"""Logging in: which keys are offered, in which order, and that a refusal is final and single."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from pylon.monitor.ssh import LoginRefusedError, open_channel
from pylon.monitor.ssh.deadline import Deadline
from pylon.monitor.ssh.identities import MOST_OFFERED, identities, public_half
from tests.monitor.ssh.helpers import failure, nothing_left, plain_settings, settings_for
from tests.monitor.ssh.sshd import Sshd, make_key, public_line, require_sshd


@pytest.fixture(autouse=True)
def leaves_nothing(shared_sshd):
    with nothing_left():
        yield


class SshAgent:
    """A real ssh-agent."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "agent"
        self._process = subprocess.Popen(["ssh-agent", "-D", "-a", self.path], stdout=subprocess.DEVNULL)
        while not self.path.exists():
            time.sleep(0.01)

    def add(self, key: Path) -> None:
        subprocess.run(
            ["ssh-add", "-q", key],
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "SSH_AUTH_SOCK": str(self.path)},
        )

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)


@pytest.fixture
def agent(tmp_path) -> Iterator[SshAgent]:
    agent = SshAgent(tmp_path)
    yield agent
    agent.stop()


def offered(settings, deadline_s: float = 5) -> tuple[list[str], list[str]]:
    """Where the keys come from that would be offered, in order; and the notes."""
    with ExitStack() as cleanup:
        found = identities(settings, Deadline(deadline_s), cleanup)
        kinds = ["agent" if "Agent" in type(key).__name__ else "file" for key in found.keys]
        return [
            f"{kind} {key.asbytes().hex()[-8:]}" for kind, key in zip(kinds, found.keys, strict=True)
        ], found.notes


def tail(key: Path) -> str:
    blob = public_half(key)
    assert blob is not None
    return blob.hex()[-8:]


def test_refused_login_is_one_connection_and_one_attempt(sshd: Sshd, tmp_path) -> None:
    stranger = make_key(tmp_path / "stranger")
    settings = replace(settings_for(sshd.client_config()), identity_files=(stranger,))
    error = failure(settings, LoginRefusedError)
    assert error.permanent
    assert f"login as {sshd.user}: none of 1 keys is accepted" in str(error)
    time.sleep(0.2)
    log = sshd.log()
    # One of the two is the look whether it listens.
    assert log.count("Connection from") == 2
    assert log.count("Failed publickey") == 1
    assert log.count("Postponed") == 0


def test_no_key_at_all_is_a_refusal(shared_sshd, tmp_path) -> None:
    settings = replace(settings_for(shared_sshd.client_config()), identity_files=(tmp_path / "missing",))
    assert "there is no key to offer" in str(failure(settings, LoginRefusedError))


@pytest.mark.slow
def test_passphrase_without_an_agent_is_a_refusal_that_names_the_fix(shared_sshd, tmp_path) -> None:
    for kind in ("ed25519", "rsa"):
        key = make_key(tmp_path / kind, kind, passphrase="secret")
        settings = replace(settings_for(shared_sshd.client_config()), identity_files=(key,))
        error = failure(settings, LoginRefusedError)
        assert f"{key} is protected by a passphrase and no agent holds it (ssh-add {key};" in str(error)
        assert f"ssh-keygen -p -f {key} removes the passphrase" in str(error)
        assert "secret" not in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("in_agent", [False, True])
def test_each_kind_of_key_from_a_file_and_from_an_agent(kind, in_agent, agent, tmp_path) -> None:
    key = make_key(tmp_path / "key", kind)
    with Sshd(tmp_path / "d", authorized=[key]) as sshd:
        settings = replace(settings_for(sshd.client_config()), identity_files=(key,), agent=None)
        if in_agent:
            agent.add(key)
            key.unlink()
            settings = replace(settings, agent=agent.path)
        channel = open_channel(settings, b"cat")
        channel.send(b"hello", 20)
        assert channel.receive(20) == b"hello"
        channel.close()


def test_order_is_that_of_ssh(agent, client_key, tmp_path) -> None:
    first, second, third, fourth = (make_key(tmp_path / name) for name in "abcd")
    for key in (third, second, first):
        agent.add(key)
    settings = plain_settings(22, fourth, tmp_path, agent=agent.path)
    settings = replace(settings, identity_files=(fourth, first, second))
    expected = [
        f"agent {tail(first)}",
        f"agent {tail(second)}",
        f"agent {tail(third)}",
        f"file {tail(fourth)}",
    ]
    assert offered(settings)[0] == expected
    assert offered(replace(settings, identities_only=True))[0] == [expected[0], expected[1], expected[3]]
    assert offered(replace(settings, agent=None))[0] == [
        f"file {tail(one)}" for one in (fourth, first, second)
    ]


def test_protected_key_is_used_through_the_agent_without_its_public_file(agent, tmp_path) -> None:
    key = make_key(tmp_path / "key")
    agent.add(key)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-P", "", "-f", key], check=True, timeout=60)
    Path(f"{key}.pub").unlink()
    settings = plain_settings(22, key, tmp_path, agent=agent.path, identities_only=True)
    assert offered(settings)[0] == [f"agent {tail(key)}"]


def test_not_more_keys_than_a_server_bears(agent, tmp_path) -> None:
    keys = [make_key(tmp_path / f"key{number}") for number in range(MOST_OFFERED + 3)]
    for key in keys:
        agent.add(key)
    found, notes = offered(plain_settings(22, tmp_path / "none", tmp_path, agent=agent.path))
    assert len(found) == MOST_OFFERED
    assert notes == [
        "3 more keys were not offered, as servers hang up after 6: name the right one with 'IdentityFile' and"
        " set 'IdentitiesOnly yes'"
    ]


def test_key_that_others_can_read_is_not_used(tmp_path) -> None:
    key = make_key(tmp_path / "key")
    key.chmod(0o644)
    found, notes = offered(plain_settings(22, key, tmp_path))
    assert found == []
    assert notes == [f"{key} can be read by others (mode 644)"]


@pytest.mark.parametrize(
    "content", ["", "nonsense", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "\0" * 99]
)
def test_file_that_is_no_key(content, tmp_path) -> None:
    key = tmp_path / "key"
    key.write_text(content)
    key.chmod(0o600)
    found, notes = offered(plain_settings(22, key, tmp_path))
    assert found == []
    assert len(notes) == 1 and str(key) in notes[0]


def test_fifo_in_the_place_of_a_key_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "key")
    assert offered(plain_settings(22, tmp_path / "key", tmp_path)) == ([], [])


@pytest.mark.slow
def test_agent_that_is_gone_or_frozen_costs_only_its_keys(agent, shared_sshd, tmp_path) -> None:
    settings = settings_for(shared_sshd.client_config())
    for path in (tmp_path / "nowhere", agent.path):
        agent.freeze()
        began = time.monotonic()
        open_channel(replace(settings, agent=path, identities_only=False), b"cat", deadline_s=6).close()
        assert time.monotonic() - began < 4
    settings = replace(settings, agent=agent.path, identity_files=())
    error = failure(settings, LoginRefusedError, deadline_s=3)
    assert f"the agent at {agent.path} does not answer" in str(error)


@pytest.mark.parametrize(
    "answer", [b"", b"\0\0\0\1\5", b"\xff\xff\xff\xff", b"\0\0\0\5\x0c\0\0\0\7", b"\0\0\0\0"]
)
def test_agent_that_answers_nonsense(answer, tmp_path) -> None:
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            end, _ = listener.accept()
            with end:
                end.recv(100)
                end.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        found, notes = offered(plain_settings(22, tmp_path / "none", tmp_path, agent=path))
        thread.join(5)
    assert found == []
    assert len(notes) == 1 and "agent" in notes[0]


def test_agent_that_will_not_sign_leaves_the_next_key(shared_sshd, agent, tmp_path) -> None:
    # Locked with a password after its keys were listed: it signs nothing.
    stranger = make_key(tmp_path / "stranger")
    agent.add(stranger)
    settings = settings_for(shared_sshd.client_config())
    settings = replace(settings, agent=agent.path, identity_files=(stranger, shared_sshd.client_key))

    from pylon.monitor.ssh.agent import Agent, AgentError

    def refuse(*_: object) -> bytes:
        raise AgentError("the agent does not sign")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Agent, "sign", refuse)
        open_channel(settings, b"cat").close()
        only = replace(settings, identity_files=(stranger,))
        assert "does not sign" in str(failure(only, LoginRefusedError))


def test_server_that_hangs_up_after_too_many_keys_is_a_refusal(tmp_path) -> None:
    keys = [make_key(tmp_path / f"key{number}") for number in range(4)]
    with Sshd(tmp_path / "d", options={"MaxAuthTries": "2"}) as sshd:
        settings = replace(settings_for(sshd.client_config()), identity_files=tuple(keys))
        error = failure(settings, LoginRefusedError)
        assert "Too many authentication failures" in str(error)


def test_second_factor_is_a_refusal(tmp_path) -> None:
    options = {
        "AuthenticationMethods": "publickey,keyboard-interactive",
        "KbdInteractiveAuthentication": "yes",
        "UsePAM": "yes",
    }
    with Sshd(tmp_path / "d", options=options) as sshd:
        error = failure(settings_for(sshd.client_config()), LoginRefusedError)
        assert "keyboard-interactive in addition to the key" in str(error)


def test_certificate_beside_the_key_is_used(tmp_path) -> None:
    require_sshd()
    authority = make_key(tmp_path / "authority")
    key = make_key(tmp_path / "key")
    (tmp_path / "ca.pub").write_text(public_line(authority))
    with Sshd(tmp_path / "d", authorized=[], options={"TrustedUserCAKeys": str(tmp_path / "ca.pub")}) as sshd:
        command = ["ssh-keygen", "-q", "-s", authority, "-I", "id", "-n", sshd.user, f"{key}.pub"]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
        settings = replace(settings_for(sshd.client_config()), identity_files=(key,))
        open_channel(settings, b"cat").close()
