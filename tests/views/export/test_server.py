"""Metrics over HTTP: who may ask, and what clients cannot do to it."""

import gzip
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from pylon.command import main
from pylon.views.access import Access, AccessError, Address, read_token
from pylon.views.export import server as serving
from pylon.views.export.picture import Picture
from pylon.views.export.server import MetricsServer
from tests.views.export.pictures import picture

TOKEN = "0123456789abcdef0123456789abcdef"
LOOPBACK = Address.of("127.0.0.1", 0)


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with MetricsServer(LOOPBACK, Access.of(LOOPBACK, (), None), picture) as made, made.answering():
        yield made


@pytest.fixture
def guarded() -> Iterator[MetricsServer]:
    access = Access(Access.of(LOOPBACK, ["gpu7"], None).hosts, TOKEN)
    with MetricsServer(LOOPBACK, access, picture) as made, made.answering():
        yield made


def connected(server: MetricsServer) -> socket.socket:
    return socket.create_connection(server.server_address[:2], 10)


def raw(server: MetricsServer, request: bytes) -> bytes:
    """All that is answered."""
    with connected(server) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def asked(
    server: MetricsServer, path: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
    try:
        connection.request(
            method, path, headers={name.replace("_", "-"): one for name, one in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_scrape_gets_the_text(server: MetricsServer) -> None:
    status, body, headers = asked(server)
    assert status == 200
    assert b'pylon_up{server="localhost"} 1.0\n' in body
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    _, zipped, headers = asked(server, Accept_Encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped) == body
    _, _, headers = asked(server, Accept="application/openmetrics-text;version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert asked(server, method="HEAD")[:2] == (200, b"")
    assert asked(server, "/-/ready")[0] == 200


def test_nothing_else_is_there(server: MetricsServer) -> None:
    for path in ("/", "/metrics/../etc/passwd", "/%6detrics", "/metricsx"):
        assert asked(server, path)[0] == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "<script>"):
        status, body, headers = asked(server, method=method)
        assert (status, body) == (501, b"501 Not Implemented\n"), method
        assert "Access-Control-Allow-Origin" not in headers


def test_not_ready_before_the_first_reading() -> None:
    with MetricsServer(LOOPBACK, Access.of(LOOPBACK, (), None), Picture) as made, made.answering():
        assert asked(made, "/-/ready")[0] == 503
        assert asked(made)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[::1].evil", "localhost@evil", "localhost]"]
)
def test_page_of_another_site_gets_nothing(server: MetricsServer, host: str) -> None:
    status, body, _ = asked(server, Host=host)
    assert (status, b"pylon" in body) == (421, False)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9466", "127.0.0.1:1", "[::1]:9466"])
def test_own_names_are_answered(server: MetricsServer, host: str) -> None:
    assert asked(server, Host=host)[0] == 200


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer \xff"],
)
def test_without_the_token_nothing_is_answered(guarded: MetricsServer, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for path in ("/metrics", "/-/ready", f"/metrics?token={TOKEN}"):
        status, body, answered = asked(guarded, path, **headers)
        assert (status, b"pylon" in body) == (401, False)
        assert answered["WWW-Authenticate"] == "Bearer"


def test_with_the_token_it_answers_to_its_names_alone(guarded: MetricsServer) -> None:
    assert asked(guarded, Authorization=f"Bearer {TOKEN}", Host="gpu7:9466")[0] == 200
    assert asked(guarded, Authorization=f"bearer {TOKEN}")[0] == 200
    assert asked(guarded, Authorization=f"Bearer {TOKEN}", Host="gpu8")[0] == 421


def test_slow_sender_is_cut(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "DEADLINE_S", 0.3)
    with connected(server) as connection:
        began_s = time.monotonic()
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
        with pytest.raises(OSError):
            # A byte now and then keeps no connection.
            for _ in range(200):
                connection.sendall(b"x")
                time.sleep(0.02)
        assert time.monotonic() - began_s < 3


def test_reader_that_reads_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "DEADLINE_S", 0.3)
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(serving, "metrics_text", lambda *_: (bytes(50_000_000), "text/plain"))
    access = Access.of(LOOPBACK, (), None)
    with (
        MetricsServer(LOOPBACK, access, picture) as made,
        made.answering(),
        connected(made) as connection,
    ):
        connection.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        connection.recv(1)
        until_s = time.monotonic() + 10
        while (status := asked(made, "/-/ready")[0]) == 503 and time.monotonic() < until_s:
            time.sleep(0.02)
        assert status == 200, "its place is free again"


def test_long_head_is_cut(server: MetricsServer) -> None:
    with connected(server) as connection:
        connection.settimeout(serving.DEADLINE_S / 2)
        with suppress(ConnectionError):
            connection.sendall(b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * serving.MOST_HEAD_BYTES)
        answer = b""
        with suppress(ConnectionError):
            answer = connection.recv(1)
        assert answer == b"", "it is closed, long before the deadline"
    assert asked(server)[0] == 200


@pytest.mark.parametrize(
    "request_text",
    [
        b"\x00\xff\x16\x03\x01\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET /%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://evil/metrics HTTP/1.1\r\nHost: evil\r\n\r\n",
    ],
)
def test_request_that_is_none_is_refused(server: MetricsServer, request_text: bytes) -> None:
    answer = raw(server, request_text)
    assert b"pylon_up" not in answer
    assert b"Set-Cookie" not in answer
    assert b"Traceback" not in answer
    assert asked(server)[0] == 200


def test_idle_connections_leave_room_again(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "DEADLINE_S", 0.5)
    threads = threading.active_count()
    with ExitStack() as idle:
        for _ in range(200):
            idle.enter_context(connected(server))
        assert threading.active_count() - threads <= serving.MOST_CONNECTIONS
        until_s = time.monotonic() + 20
        status = 503
        while status == 503 and time.monotonic() < until_s:
            try:
                status = asked(server)[0]
            except OSError:
                time.sleep(0.05)
        assert status == 200, "while the 200 connections are still open"


def test_scrapes_at_one_time_share_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    made_texts = []
    real = serving.metrics_text

    def counted(*arguments: object) -> tuple[bytes, str]:
        made_texts.append(arguments)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(serving, "metrics_text", counted)
    with MetricsServer(LOOPBACK, Access.of(LOOPBACK, (), None), picture) as made, made.answering():
        monkeypatch.setattr(serving, "_FRESH_S", 60.0)
        assert len({asked(made)[1] for _ in range(5)}) == 1
    assert len(made_texts) == 1


def test_beyond_this_machine_there_must_be_a_token() -> None:
    for host in ("0.0.0.0", "::"):
        with pytest.raises(AccessError, match="expected --token-file"):
            Access.of(Address.of(host, 0), (), None)


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        (TOKEN, 0o644, "mode 644: other users can read it"),
        ("short", 0o600, "5 characters, expected one word of at least 16"),
        ("two words of a token", 0o600, "expected one word"),
        ("ä" * 20, 0o600, "cannot be read"),
    ],
)
def test_unsafe_token_is_refused(tmp_path: Path, text: str, mode: int, reason: str) -> None:
    (tmp_path / "token").write_text(text)
    (tmp_path / "token").chmod(mode)
    with pytest.raises(AccessError, match=reason) as refused:
        read_token(tmp_path / "token")
    assert text not in str(refused.value).split(), "no token is printed"


def test_token_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "token") == TOKEN
    with pytest.raises(AccessError, match="No such file"):
        read_token(tmp_path / "absent")


@pytest.mark.parametrize("wrong", ["65536", "-1", "http"])
@pytest.mark.parametrize("command", ["export", "serve"])
def test_port_that_is_none_is_refused(command: str, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([command, "--port", wrong])
    assert f"argument --port: {wrong!r}, expected" in capsys.readouterr().err


def test_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["export", "--no-gpu", "--port", str(port)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"--port: {port} at 127.0.0.1: Address already in use" in printed.err
    assert len(printed.err.splitlines()) == 1


def test_command_answers_and_ends_with_a_client_that_hangs() -> None:
    command = [sys.executable, "-m", "pylon", "export", "--no-gpu", "--port", "0", "--interval-s", "0.5"]
    repository = Path(__file__).resolve().parents[3]
    process = subprocess.Popen(
        command, cwd=repository, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        port = int(url.removeprefix("http://127.0.0.1:").removesuffix("/metrics"))
        with socket.create_connection(("127.0.0.1", port)) as hanging:
            hanging.sendall(b"GET /met")
            process.terminate()
            began_s = time.monotonic()
            assert process.wait(20) == 143
            assert time.monotonic() - began_s < 6
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
