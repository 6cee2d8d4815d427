"""The command line on real sshd servers: what it shows, and that it leaves nothing, here or there."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults.harness import REPOSITORY, marked, wait_until
from tests.monitor.ssh.sshd import Sshd, many_addresses

pytestmark = pytest.mark.ci

_MARK = "PYLON_TEST_MARK"
_SMI = Path(__file__).parents[1] / "remote" / "far" / "nvidia-smi"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd that plays three servers, whose nvidia-smi is a stand-in."""
    root = tmp_path_factory.mktemp("fleet")
    path = f"{_SMI.parent}:/usr/bin:/bin"
    with Sshd(
        root / "sshd", addresses=many_addresses(3), options={"SetEnv": f"SHLVL=9 PATH={path} FAKE_SMI=well"}
    ) as sshd:
        config = sshd.client_config(hosts={"gpu1": "127.0.0.1", "gpu2": "127.0.0.2", "gpu3": "127.0.0.3"})
        (root / "sshd/fleet.toml").write_text(
            f'ssh_config = "{config.name}"\nservers = ["gpu1", "gpu2"]\n'
            '[[server]]\nname = "third"\naddress = "gpu3"\ntags = ["best"]\n'
        )
        yield sshd


class Command:
    """A running `python -m monitor`."""

    def __init__(self, *arguments: str, stdout: int = subprocess.PIPE, terminal: str = "xterm") -> None:
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [sys.executable, "-m", "monitor", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, _MARK: self.mark, "TERM": terminal},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        for pid in [*marked(self.mark), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate(timeout=20)

    def result(self, timeout_s: float = 60) -> tuple[int, str, str]:
        """Exit code and what it wrote."""
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out, err

    def left(self) -> list[int]:
        """Processes here that it has started and that still run."""
        return [pid for pid in marked(self.mark) if pid != self.process.pid]


def far_processes(sshd: Sshd) -> list[str]:
    """What runs at the far side for us, by command line."""
    found = []
    for one in sshd.sessions():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(" ".join(one.cmdline()) or one.name())
    return found


def at_file(sshd: Sshd) -> tuple[str, str]:
    return "--servers-file", str(sshd.root / "fleet.toml")


def test_once_shows_every_server_and_its_gpus(fleet: Sshd) -> None:
    with Command("once", *at_file(fleet)) as command:
        code, out, err = command.result()
    lines = out.splitlines()
    assert (code, err) == (0, "")
    for name in ("gpu1", "gpu2", "third"):
        assert any(line.startswith(name) and " ok " in line for line in lines), out
    assert sum("GPU 0" in line for line in lines) == 3
    assert "third: seems to be the same machine as gpu1" in lines


def test_once_as_json_has_the_same_content_for_every_server(fleet: Sshd) -> None:
    config = str(fleet.root / "ssh_config")
    with Command(
        "once", "--json", "--ssh-config", config, "--server", "localhost", "--server", "gpu2"
    ) as one:
        code, out, _ = one.result()
    shown = json.loads(out)
    assert code == 0
    assert set(shown["cpu"]) == set(shown["gpu"]) == {"localhost", "gpu2"}
    here, there = (shown["cpu"][server]["status"]["sample"] for server in ("localhost", "gpu2"))
    assert here.keys() == there.keys()
    assert (here["side"], there["side"]) == ("local", "remote")
    near, far = (shown[name]["GPUSample"]["power_w"]["source"] for name in ("origins", "remote_origins"))
    assert (near, far) == ("nvmlDeviceGetPowerUsage", "nvidia-smi --query-gpu=power.draw")
    assert here["memory_total_bytes"] == there["memory_total_bytes"]
    assert shown["health"]["RemoteMonitor-0"]["servers"]["gpu2"]["last_error"] is None


def test_once_ends_early_where_waiting_does_not_help_and_gives_the_reason(
    fleet: Sshd, tmp_path: Path
) -> None:
    config = fleet.client_config(tmp_path / "ssh_config", known_hosts="")
    began = time.monotonic()
    with Command("once", "--ssh-config", str(config), "--server", "127.0.0.1") as command:
        code, out, _ = command.result()
    assert code == 1
    assert "HostKeyUnknownError" in out
    assert time.monotonic() - began < 20, "the time limit is 30 s"


def test_free_names_the_servers_that_a_job_fits_on(fleet: Sshd) -> None:
    with Command("free", *at_file(fleet), "--memory-gb", "24", "--json") as command:
        code, out, err = command.result()
    found = json.loads(out)
    assert (code, err, found["unknown"]) == (0, "", [])
    assert [one["server"] for one in found["free"]] == ["gpu1", "gpu2", "third"]
    assert [gpu["index"] for gpu in found["free"][0]["gpus"]] == [1], "somebody computes on GPU 0"
    with Command("free", *at_file(fleet), "--tag", "best", "--cuda") as command:
        code, out, _ = command.result()
    assert (code, out) == (0, "third CUDA_VISIBLE_DEVICES=GPU-00000001-aaaa-bbbb-cccc-dddddddddddd\n")
    with Command("free", *at_file(fleet), "--gpus", "2") as command:
        assert command.result()[:2] == (3, "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("once", "--server", "no host"), "servers: 'no host', expected"),
        (("watch", "--servers-file", "nowhere.toml"), "nowhere.toml: 1 problem"),
        (("free", "--tag", "a100"), "expected --servers-file"),
        (("free", "--gpus", "-1"), "argument --gpus: '-1', expected a whole number from 0 on"),
        (("free", "--memory-gb", "nan"), "argument --memory-gb: 'nan', expected a number from 0 on"),
        (("free", "--memory-gb", "1e999"), "argument --memory-gb: '1e999', expected a number from 0 on"),
        (("watch", "--count", "0"), "argument --count: '0', expected a whole number from 1 on"),
        (("watch", "--interval-s", "soon"), "argument --interval-s: 'soon', expected a number above 0"),
    ],
)
def test_wrong_command_line_is_reported_at_once(arguments: tuple[str, ...], expected: str) -> None:
    with Command(*arguments) as command:
        code, out, err = command.result()
    assert (code, out) == (2, "")
    assert expected in err
    assert "Traceback" not in err


def test_watch_writes_lines_where_nobody_looks(fleet: Sshd) -> None:
    with Command("watch", *at_file(fleet), "--interval-s", "1", "--count", "6", "--json") as command:
        code, out, _ = command.result()
    pictures = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len(pictures) == 6
    assert all(one["absence"] is None for one in pictures[-1]["cpu"].values())
    with Command("watch", *at_file(fleet), "--interval-s", "1", "--count", "3") as command:
        code, out, _ = command.result()
    assert "\x1b" not in out
    assert len(out.splitlines()) >= 9


def drawn_on(terminal: str, *arguments: str) -> bytes:
    """What `watch` writes to a terminal of this type."""
    master, slave = pty.openpty()
    with Command("watch", *arguments, stdout=slave, terminal=terminal) as command:
        os.close(slave)
        drawn = b""
        with contextlib.suppress(OSError):
            while piece := os.read(master, 65536):
                drawn += piece
        assert command.process.wait(30) == 0
    os.close(master)
    return drawn


def test_watch_draws_in_place_on_a_terminal(fleet: Sshd) -> None:
    drawn = drawn_on("xterm", *at_file(fleet), "--interval-s", "1", "--count", "4")
    assert drawn.count(b"\x1b[H") == 4
    assert b"third" in drawn


def test_watch_writes_lines_on_a_terminal_that_cannot_move_its_cursor() -> None:
    drawn = drawn_on("dumb", "--no-gpu", "--interval-s", "0.5", "--count", "2")
    assert b"\x1b" not in drawn
    assert drawn.count(b"localhost") == 2


def test_watch_whose_reader_has_gone_ends_quietly(fleet: Sshd) -> None:
    with Command("watch", *at_file(fleet), "--interval-s", "0.5") as command:
        assert command.process.stdout is not None
        command.process.stdout.readline()
        command.process.stdout.close()
        command.process.stdout = None
        assert command.process.wait(30) == 0
        assert command.result()[2] == ""


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
)
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "while it connects"])
def test_end_by_signal_leaves_nothing_here_or_there(
    fleet: Sshd, number: signal.Signals, code: int, connected: bool
) -> None:
    wait_until(lambda: not far_processes(fleet), 20, "the far side is clean before")
    with Command("watch", *at_file(fleet), "--interval-s", "0.5") as command:
        if connected:
            wait_until(
                lambda: sum("nvidia-smi" in one for one in far_processes(fleet)) >= 3, 60, "all are read"
            )
        else:
            wait_until(fleet.sessions, 60, "the first connection")
        os.kill(command.process.pid, number)
        began = time.monotonic()
        assert command.process.wait(20) == code
        assert number == signal.SIGKILL or time.monotonic() - began < 6
        wait_until(lambda: not command.left(), 10, "no process is left here")
        wait_until(lambda: not far_processes(fleet), 20, f"nothing is left there: {far_processes(fleet)}")
        if number != signal.SIGKILL:
            assert command.result()[2] == ""
