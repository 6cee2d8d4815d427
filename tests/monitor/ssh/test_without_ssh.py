"""A machine without the ssh program: what paramiko reads, and that nothing is passed over in silence."""

import os
import pwd
from pathlib import Path

import pytest

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.remote.assignment import remote_monitors
from pylon.monitor.ssh import Resolver, ServerName, SSHSettings, open_channel
from tests.monitor.ssh.sshd import Sshd

HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)


def resolved(folder: Path, text: str, name: str = "gpu1") -> SSHSettings:
    path = folder / "config"
    path.write_text(text)
    return Resolver(path, {}, program="").resolve(ServerName.parse(name))


def test_what_paramiko_reads(tmp_path) -> None:
    text = (
        "Host gpu1\n  HostName %h.lan\n  Port 7\n  User u\n  IdentityFile ~/k\n  ProxyJump a@b:3\n"
        "Host *\n  User v\n  IdentitiesOnly yes\n  StrictHostKeyChecking accept-new\n"
    )
    found = resolved(tmp_path, text)
    assert (found.host, found.port, found.user) == ("gpu1.lan", 7, "u")
    assert found.identity_files == (HOME / "k",)
    assert found.identities_only
    assert [(hop.host, hop.port, hop.user) for hop in found.hops] == [("b", 3, "a")]
    assert resolved(tmp_path, text, "me@other:9").user == "me"


def test_defaults_are_those_of_ssh(tmp_path) -> None:
    found = resolved(tmp_path, "")
    assert (found.host, found.port, found.user) == ("gpu1", 22, pwd.getpwuid(os.getuid()).pw_name)
    assert found.identity_files[0] == HOME / ".ssh/id_rsa"
    assert found.noted_in == HOME / ".ssh/known_hosts"


@pytest.mark.parametrize(
    "text",
    [
        "Include more\n",
        "Match exec true\n  Port 3\n",
        "match host x exec=true\n",
        "Match tagged x\n",
        "CanonicalizeHostname yes\n",
        "HostKeyAlgorithms +ssh-rsa\n",
        "Ciphers -aes128-ctr\n",
    ],
)
def test_what_only_openssh_understands_is_refused(text, tmp_path) -> None:
    with pytest.raises(MonitorSettingError, match="the ssh program is not installed"):
        resolved(tmp_path, text)


@pytest.mark.parametrize("text", ["KnownHostsCommand /bin/x\n", "PubkeyAuthentication no\n"])
def test_what_ssh_would_refuse_is_refused_here_too(text, tmp_path) -> None:
    with pytest.raises(MonitorSettingError, match="which is not supported; expected"):
        resolved(tmp_path, text)


def test_login(shared_sshd: Sshd, tmp_path) -> None:
    config = shared_sshd.client_config(tmp_path / "config")
    settings = Resolver(config, {}, program="").resolve(ServerName("127.0.0.1"))
    with_channel = open_channel(settings, b"echo there; cat")
    assert with_channel.receive(20) == b"there\n"
    with_channel.close()


def test_log_names_what_is_missing_and_only_for_other_machines(monkeypatch, caplog) -> None:
    monkeypatch.setenv("PATH", "")
    remote_monitors({"localhost": "localhost"}, 10, {})
    assert caplog.text == ""
    remote_monitors({"gpu1": "gpu1", "gpu2": "gpu2"}, 1, {})
    assert caplog.text.count("the ssh program is not installed") == 1
