"""Names are asked again when a file changes, in bounded time, and not by files that others can write."""

import os
import pwd
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh import Resolver, ServerName
from pylon.monitor.ssh.ask_ssh import SSHProgram
from tests.faults.harness import wait_until
from tests.monitor.ssh.helpers import require_ssh, written

ME = pwd.getpwuid(os.getuid())
HOME = Path(ME.pw_dir)


@pytest.fixture(autouse=True)
def needs_ssh() -> None:
    require_ssh()


class Counted:
    """A program in the place of ssh, which counts how often it is asked, and asks ssh."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "counted-ssh"
        self._log = folder / "asked"
        self.path.write_text(f'#!/bin/sh\necho >> {self._log}\nexec {shutil.which("ssh")} "$@"\n')
        self.path.chmod(0o755)

    @property
    def times(self) -> int:
        return self._log.read_text().count("\n") if self._log.exists() else 0


def test_missing_file_that_was_named(tmp_path) -> None:
    with pytest.raises(MonitorSettingError, match=r"ssh_config: '.*none', expected a file"):
        Resolver(tmp_path / "none").resolve(ServerName("gpu1"))


@pytest.mark.parametrize("included", [False, True])
@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_file_that_others_can_write_is_refused_before_anything_of_it_runs(mode, included, tmp_path) -> None:
    ran = tmp_path / "ran"
    bad = tmp_path / "bad"
    bad.write_text(f'Match exec "touch {ran}"\n  Port 3\n')
    config = written(tmp_path, f"Include {tmp_path}/b*d\n") if included else bad
    bad.chmod(mode)
    with pytest.raises(MonitorSettingError, match=r"no other user can write.*chmod go-w .*bad"):
        Resolver(config).resolve(ServerName("gpu1"))
    assert not ran.exists()
    bad.chmod(0o644)
    assert Resolver(config).resolve(ServerName("gpu1")).port == 3
    assert ran.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_file_of_another_user_is_refused(tmp_path) -> None:
    config = written(tmp_path, "Port 3\n")
    os.chown(config, 65534, -1)
    with pytest.raises(MonitorSettingError, match="belongs to uid 65534"):
        Resolver(config).resolve(ServerName("gpu1"))


def test_asked_once_and_again_when_a_file_of_it_changes(tmp_path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "more").write_text("Port 1\n")
    old = written(tmp_path, f"Include {tmp_path}/conf.d/* {tmp_path}/more {tmp_path}/later\n")
    for one in (old, tmp_path / "more"):
        os.utime(one, (1, 1))
    ssh = Counted(tmp_path)
    resolver = Resolver(old, program=str(ssh.path))
    for _ in range(3):
        assert resolver.resolve(ServerName("gpu1")).port == 1
    assert ssh.times == 1
    changes = [("more", "Port 2\n", 2), ("conf.d/new", "Port 3\n", 3), ("config", "Port 4\n", 4)]
    for number, (file, text, port) in enumerate(changes):
        seen = resolver.stamps()
        (tmp_path / file).write_text(text)
        assert resolver.stamps() != seen
        assert resolver.resolve(ServerName("gpu1")).port == port, file
        assert ssh.times >= number + 2


def test_file_that_an_include_will_find_is_waited_for(tmp_path) -> None:
    resolver = Resolver(written(tmp_path, f"Include {tmp_path}/later\n"))
    assert resolver.resolve(ServerName("gpu1")).port == 22
    (tmp_path / "later").write_text("Port 5\n")
    assert resolver.resolve(ServerName("gpu1")).port == 5


def test_answer_that_a_program_decided_is_not_kept_for_long(tmp_path, monkeypatch) -> None:
    from pylon.monitor.ssh import resolver as module

    monkeypatch.setattr(module, "_VOLATILE_FOR_S", 0.0)
    text = f'Match exec "test -e {tmp_path}/at-home"\n  Port 3\n'
    resolver = Resolver(written(tmp_path, text))
    assert resolver.resolve(ServerName("gpu1")).port == 22
    (tmp_path / "at-home").touch()
    assert resolver.resolve(ServerName("gpu1")).port == 3


def test_broken_line_is_looked_at_again(tmp_path) -> None:
    resolver = Resolver(written(tmp_path, f"Include {tmp_path}/more\n"))
    (tmp_path / "more").write_text("Port ninety\n")
    with pytest.raises(MonitorSettingError, match="more line 1"):
        resolver.resolve(ServerName("gpu1"))
    seen = resolver.stamps()
    (tmp_path / "more").write_text("Port 90\n")
    assert resolver.stamps() != seen
    assert resolver.resolve(ServerName("gpu1")).port == 90


def test_program_of_a_match_exec_that_hangs_is_ended_and_named(tmp_path) -> None:
    seconds = f"4321.{os.getpid()}"
    config = written(tmp_path, f'Match exec "sleep {seconds}"\n  Port 3\n')
    shell = shutil.which("ssh")
    assert shell is not None
    began = time.monotonic()
    with pytest.raises(MonitorSettingError, match=r"took longer than 0.5 s: a program that a Match exec"):
        SSHProgram(shell, config, dict(os.environ), 0.5).ask(ServerName("gpu1"))
    assert time.monotonic() - began < 3
    wait_until(lambda: not _running(seconds), 5, "the end of the program")


def test_program_that_a_match_exec_leaves_behind_holds_nothing_up(tmp_path) -> None:
    seconds = f"4322.{os.getpid()}"
    config = written(tmp_path, f'Match exec "sleep {seconds} &"\n  Port 3\n')
    began = time.monotonic()
    assert Resolver(config).resolve(ServerName("gpu1")).port == 3
    assert time.monotonic() - began < 3
    for pid in _running(seconds):
        os.kill(pid, signal.SIGKILL)


def test_flood_of_a_match_exec_is_bounded(tmp_path) -> None:
    config = written(tmp_path, 'Match exec "yes >&2"\n  Port 3\n')
    with pytest.raises(MonitorSettingError, match="writes more than"):
        Resolver(config).resolve(ServerName("gpu1"))


def _running(word: str) -> list[int]:
    return [one.pid for one in psutil.process_iter() if word in _command(one)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
