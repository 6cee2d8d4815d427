"""What the tests of connections share: settings for a port, and that nothing is left behind."""

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pylon.monitor.ssh import (
    HostKeyPolicy,
    Resolver,
    ServerName,
    SSHError,
    SSHSettings,
    open_channel,
)
from tests.monitor.ssh.sshd import require_sshd

# What a typed error may come later than its deadline, on a loaded machine.
LATE_S = 0.5


def settings_for(config: Path, name: str = "127.0.0.1") -> SSHSettings:
    """The settings of `name` by `config` alone."""
    return Resolver(config, {}).resolve(ServerName.parse(name))


def resolved(
    folder: Path, text: str, name: str = "gpu1", environment: dict[str, str] | None = None
) -> SSHSettings:
    """The settings of `name` by an ssh_config of this text, which is written into `folder`."""
    return Resolver(written(folder, text), environment or {}).resolve(ServerName.parse(name))


def written(folder: Path, text: str) -> Path:
    """An ssh_config of this text in `folder`."""
    path = folder / "config"
    path.write_text(text)
    return path


def require_ssh() -> None:
    """Skip the test if there is no ssh program to compare with; fail it where sshd must be there."""
    if shutil.which("ssh") is None:
        require_sshd()
        pytest.skip("needs OpenSSH's ssh")


def plain_settings(port: int, key: Path, known_hosts: Path, **changes: object) -> SSHSettings:
    """Settings without ssh_config."""
    return SSHSettings(
        **{
            "name": "far",
            "host": "127.0.0.1",
            "port": port,
            "user": "tester",
            "identity_files": (key,),
            "host_key_name": f"[127.0.0.1]:{port}",
            "known_hosts_files": (known_hosts,),
            "noted_in": known_hosts,
            **changes,
        }
    )


def failure(
    settings: SSHSettings,
    kind: type[SSHError],
    deadline_s: float = 5.0,
    policy: HostKeyPolicy = HostKeyPolicy.STRICT,
    within_s: float | None = None,
) -> SSHError:
    """The error of a connection that must fail with exactly this kind, in time."""
    began = time.monotonic()
    with pytest.raises(SSHError) as caught:
        open_channel(settings, b"cat", policy=policy, deadline_s=deadline_s).close()
    took = time.monotonic() - began
    assert type(caught.value) is kind, caught.value
    assert took < (deadline_s if within_s is None else within_s) + LATE_S, took
    return caught.value


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """No thread, descriptor or child process more than before, within a second and a half.

    Except for sshd: those are the tests' own.
    """
    before = _state()
    yield
    until = time.monotonic() + 1.5
    while (left := _state() - before) and time.monotonic() < until:
        time.sleep(0.02)
    assert not left, left


def _state() -> set[str]:
    threads = {f"thread {one.name} {one.ident}" for one in threading.enumerate()}
    files = set()
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(one.readlink())
            if target.startswith(("socket:", "pipe:")):
                files.add(target)
    children = set()
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if not any(parent.name() == "sshd" for parent in (one, *one.parents())):
                children.add(f"process {one.pid} {one.name()}")
    return threads | files | children
