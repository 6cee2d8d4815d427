"""`pylon serve` as a process: how it begins, and that it ends with all that it has."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pylon.command import main
from tests.views.web.conftest import eventually, read_all

pytestmark = pytest.mark.ci


@contextmanager
def started(*words: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [sys.executable, "-m", "pylon", "serve", "--port", "0", "--no-gpu", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def connected(url: str) -> socket.socket:
    port = int(url.rstrip("/").rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_open_streams_and_all_its_processes(number: signal.Signals) -> None:
    with started("--interval-s", "0.2") as (process, url):
        clients = [connected(url) for _ in range(5)]
        for client in clients[:3]:
            client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200" in client.recv(4096)
        clients[3].sendall(b"GET / HTTP/1.1\r\nHost: ")
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        began_s = time.monotonic()
        process.send_signal(number)
        assert process.wait(10.0) == 128 + number
        assert time.monotonic() - began_s < 2.0
        assert eventually(lambda: not any(child.is_running() for child in children))
        assert process.stderr is not None
        assert process.stderr.read() == ""
        for client in clients:
            client.close()


def test_killed_server_leaves_no_process() -> None:
    with started() as (process, url):
        connected(url).close()
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10.0)
        assert eventually(lambda: not any(child.is_running() for child in children), within_s=15.0)


def test_taken_port_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.count("\n") == 1
    assert str(port) in seen.err


def test_beyond_this_machine_a_token_is_made_and_is_in_no_address() -> None:
    with started("--host", "0.0.0.0") as (process, url):
        assert process.stdout is not None
        line = process.stdout.readline()
        token = line.removeprefix("token: ").strip()
        assert len(token) >= 32
        assert token not in url
        for header, status in (("", b"401"), (f"Authorization: Bearer {token}\r\n", b"200")):
            with connected(url) as client:
                client.sendall(
                    f"GET /static/overview.js HTTP/1.0\r\nHost: localhost\r\n{header}\r\n".encode()
                )
                assert client.recv(12)[-3:] == status


def test_token_file_that_others_can_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "token"
    path.write_text("a-token-of-some-length")
    path.chmod(0o644)
    assert main(["serve", "--port", "0", "--host", "0.0.0.0", "--token-file", str(path)]) == 2
    assert "chmod 600" in capsys.readouterr().err


def test_ends_after_the_time_that_is_asked_for() -> None:
    with started("--for-s", "0.5") as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert process.wait(10.0) == 0


def test_metrics_are_those_of_the_exporter(tmp_path: Path) -> None:
    with started(str(tmp_path / "absent")) as (_, url):

        def text() -> bytes:
            with connected(url) as client:
                client.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
                return read_all(client)

        assert eventually(lambda: b'\npylon_up{server="localhost"} 1' in text(), within_s=15.0)
        assert eventually(lambda: b"\npylon_records_unreadable 1.0\n" in text(), within_s=15.0)
