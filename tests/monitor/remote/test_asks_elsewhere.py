"""Who starts the ssh program: the monitors' own processes, and never the one that trains."""

import os
import shutil
from pathlib import Path

import psutil
import pytest

from pylon.monitor import SystemMonitor
from tests.faults.harness import wait_until
from tests.monitor.ssh.sshd import require_sshd


def test_training_process_starts_no_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = shutil.which("ssh")
    if ssh is None:
        require_sshd()
        pytest.skip("needs OpenSSH's ssh")
    stand_in = tmp_path / "bin/ssh"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\necho $PPID >> {tmp_path}/parents\nexec {ssh} "$@"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    config = tmp_path / "config"
    config.write_text("Host *\n  HostName 127.0.0.1\n  Port 1\n")
    with SystemMonitor(["gpu1", "gpu2"], interval_s=0.2, ssh_config=config) as monitor:
        wait_until(lambda: len(_parents(tmp_path)) >= 2, 20, "a question for each server")
        ours = {child.pid for child in psutil.Process().children(recursive=True)}
        assert set(_parents(tmp_path)) <= ours
        assert os.getpid() not in _parents(tmp_path)
        monitor.stop()


def _parents(folder: Path) -> list[int]:
    file = folder / "parents"
    return [int(one) for one in file.read_text().split()] if file.exists() else []
