"""What counts as the user's answer to a refusal: the files that decide over it, and no others."""

import os
from pathlib import Path

import pytest

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.remote import dialer as module
from pylon.monitor.remote.dialer import Dialer
from pylon.monitor.ssh import HostKeyChangedError, HostKeyPolicy, LoginRefusedError, Resolver

REFUSED, CHANGED = LoginRefusedError("refused"), HostKeyChangedError("changed")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "more").write_text("Host gpu1\n  HostName 10.0.0.1\n")
    path = tmp_path / "config"
    path.write_text(
        f"Include {tmp_path}/more\nHost *\n  IdentityFile {tmp_path}/key\n  IdentityAgent none\n"
        f"  UserKnownHostsFile {tmp_path}/known\n"
    )
    return path


@pytest.fixture
def dialer(config: Path, monkeypatch: pytest.MonkeyPatch) -> Dialer:
    def refuse(*_: object, **__: object) -> None:
        raise REFUSED

    monkeypatch.setattr(module, "open_channel", refuse)
    made = Dialer("gpu1", Resolver(config), HostKeyPolicy.STRICT)
    with pytest.raises(LoginRefusedError):
        made.dial()
    return made


@pytest.mark.parametrize(
    ("file", "fixes_login", "fixes_host_key"),
    [
        ("config", True, True),
        ("more", True, True),
        ("key", True, False),
        ("key-cert.pub", True, False),
        ("known", False, True),
        ("unrelated", False, False),
    ],
)
def test_files_that_decide(
    dialer: Dialer, tmp_path: Path, file: str, fixes_login: bool, fixes_host_key: bool
) -> None:
    assert not dialer.user_has_acted(REFUSED)
    assert not dialer.user_has_acted(CHANGED)
    with (tmp_path / file).open("a") as opened:
        opened.write("\n")
    assert dialer.user_has_acted(REFUSED) is fixes_login
    assert dialer.user_has_acted(CHANGED) is fixes_host_key
    with pytest.raises(LoginRefusedError):
        dialer.dial()
    assert not dialer.user_has_acted(REFUSED)


def test_touching_a_key_is_enough(dialer: Dialer, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("")
    with pytest.raises(LoginRefusedError):
        dialer.dial()
    os.utime(tmp_path / "key", ns=(1, 1))
    assert dialer.user_has_acted(REFUSED)


def test_broken_ssh_config_can_be_fixed(dialer: Dialer, config: Path) -> None:
    whole = config.read_text()
    config.write_text("Host gpu1\n  Port ninety\n")
    with pytest.raises(MonitorSettingError) as caught:
        dialer.dial()
    assert not dialer.user_has_acted(caught.value)
    config.write_text(whole)
    assert dialer.user_has_acted(caught.value)
    with pytest.raises(LoginRefusedError):
        dialer.dial()
