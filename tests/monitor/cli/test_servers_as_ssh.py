"""The command line takes servers as ssh does, and a wrong setting is one error and no traceback."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.harness import REPOSITORY
from tests.monitor.ssh.sshd import Sshd

pytestmark = pytest.mark.slow


def once(*arguments: str | Path, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-m", "monitor", "once", "--no-gpu", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=90,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def without_account() -> tuple[str, ...]:
    """What runs a command as a uid that the user database does not know."""
    found = ("unshare", "--user", "--map-user=54321", "--map-group=54321")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*found, "true"], check=False, timeout=20).returncode
    ):
        pytest.skip("needs user namespaces (unshare --user)")
    return found


def test_names_as_ssh_takes_them(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as sshd:
        config = sshd.client_config(extra="Host gpu+1 办公 lab/gpu3 gpu1\n  HostName 127.0.0.1\n")
        names = ["gpu+1", "办公", "lab/gpu3", f"ssh://{sshd.user}@gpu1:{sshd.port}"]
        done = once("--ssh-config", config, *(word for name in names for word in ("--server", name)))
    assert done.returncode == 0, done.stdout + done.stderr
    for name in names:
        assert any(line.startswith(name) and " ok " in line for line in done.stdout.splitlines()), done.stdout


def test_fleet_file_whose_ssh_config_is_in_the_home_of_no_user(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text('ssh_config = "~no-such-user/cfg"\nservers = ["gpu1"]\n')
    done = once("--servers-file", fleet)
    assert done.returncode == 2
    assert "ssh_config is '~no-such-user/cfg': expected the path of a file" in done.stderr
    assert "Traceback" not in done.stderr


def test_server_that_waiting_does_not_help_is_not_waited_for_and_its_error_is_shown_once(
    tmp_path: Path,
) -> None:
    try:
        socket.getaddrinfo("nowhere.invalid", 22)
    except socket.gaierror as error:
        if error.errno != socket.EAI_NONAME:
            pytest.skip(f"needs a resolver that answers: {error}")
    with Sshd(tmp_path / "sshd", options={"Ciphers": "chacha20-poly1305@openssh.com"}) as sshd:
        config = sshd.client_config(
            hosts={"other": "127.0.0.1"}, extra="Host gone\n  HostName nowhere.invalid\n"
        )
        began = time.monotonic()
        done = once("--ssh-config", config, "--server", "gone", "--server", "other")
    assert time.monotonic() - began < 20, "the time limit is 30 s"
    assert done.returncode == 1
    assert done.stdout.count("'nowhere.invalid' has no address") == 1, done.stdout
    assert done.stdout.count("chacha20-poly1305") == 1, done.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="a namespace of another user cannot read the test's files")
def test_user_without_an_account_can_look_at_this_machine_and_at_no_other(tmp_path: Path) -> None:
    prefix = without_account()
    fleet = tmp_path / "fleet.toml"
    fleet.write_text('servers = ["localhost"]\n')
    here = once("--servers-file", fleet, prefix=prefix)
    assert (here.returncode, here.stderr) == (0, ""), here.stderr
    far = once("--server", "gpu1", prefix=prefix)
    assert far.returncode == 2
    assert far.stderr.startswith("user: uid 54321 has no entry in the user database, expected one")
    assert far.stderr.count("\n") == 1
