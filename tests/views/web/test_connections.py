"""Clients that take what they can: slow, many, and those that do not read."""

import json
import resource
import time
from collections.abc import Iterator

import pytest

from tests.monitor.statuses import cpu, seen
from tests.views.web.conftest import Server, eventually, fleet, read_all


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken=",
        b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: ",
    ],
    ids=["nothing", "head", "body", "second request"],
)
def test_slow_sender_is_cut_however_often_it_sends_a_byte(served: Server, begin: bytes) -> None:
    from pylon.views.web.connections import Limits

    server = served(token="a-token-of-some-length", limits=Limits(receive_s=0.3, idle_s=1))
    with server.connected() as client:
        began_s = time.monotonic()
        client.sendall(begin)
        client.settimeout(0.05)
        while time.monotonic() - began_s < 5.0:
            try:
                if client.recv(4096) == b"":
                    break
            except TimeoutError:
                try:
                    if begin:
                        client.sendall(b"a")
                except (BrokenPipeError, ConnectionResetError):
                    break
            except ConnectionResetError:
                break
        assert time.monotonic() - began_s < 3.0


def test_thousand_idle_connections_leave_room_again(served: Server, many_files: None) -> None:
    from pylon.views.web.connections import Limits

    server = served(limits=Limits(connections=50, receive_s=2.0))
    idle, replies = [], set()
    for number in range(1000):
        idle.append(server.connected())
        if number % 100 == 99:
            replies.add(server.get("/-/ready").status)
    assert replies & {0, 503}, "the limit took effect"
    assert eventually(lambda: server.get("/-/ready").status == 200)
    refused = 0
    for client in idle:
        refused += read_all(client).startswith(b"HTTP/1.1 503")
        client.close()
    assert refused > 500, "most were refused before they sent anything, and held no place"


def test_too_many_streams_are_refused_and_come_back(served: Server) -> None:
    from pylon.views.web.connections import Limits

    server = served(limits=Limits(streams=2))
    ask = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    clients = [server.connected() for _ in range(2)]
    for client in clients:
        client.sendall(ask)
    assert eventually(lambda: server.streams.open == 2)
    refused = server.get("/events")
    assert (refused.status, refused.header("retry-after")) == (503, "5")
    assert server.get("/").status == 200, "pages have room"
    clients[0].close()
    assert eventually(lambda: server.streams.open == 1)
    clients[1].close()


@pytest.mark.slow
def test_a_browser_that_reads_slowly_misses_pictures_and_is_told_how_many(served: Server) -> None:
    shown = fleet(200, 8)
    server = served(shown=shown)
    with server.connected() as client:
        client.sendall(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert eventually(lambda: server.streams.open == 1)
        sent = 0
        for number in range(40):
            # Each server is another one: all of it is sent.
            shown.cpu.update({f"gpu{i}": seen(cpu(number)) for i in range(200)})
            server.reader.take()
            sent += 1
            time.sleep(0.005)
        newest = server.reader.picture.number
        text = b""
        while f"id: {newest}\n".encode() not in text or not text.endswith(b"\n\n"):
            part = client.recv(65536)
            assert part
            text += part
    frames = [json.loads(line[6:]) for line in text.decode().split("\n") if line.startswith("data: ")]
    missed = sum(frame["head"]["missed"] for frame in frames)
    assert 0 < missed < sent
    # The first frame of a stream is whole: what came before it was not missed.
    assert missed + len(frames) == newest - frames[0]["head"]["number"] + 1


def test_a_stream_that_is_not_read_ends(served: Server) -> None:
    from pylon.views.web.connections import Limits

    shown = fleet(200, 8)
    server = served(shown=shown, limits=Limits(send_s=0.3))
    with server.connected() as client:
        client.sendall(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert eventually(lambda: server.streams.open == 1)

        def ended() -> bool:
            shown.cpu.update({f"gpu{i}": seen(cpu(server.reader.picture.number % 100)) for i in range(200)})
            server.reader.take()
            return bool(server.streams.open == 0)

        assert eventually(ended, within_s=20.0)


def test_a_client_that_does_not_read_loses_its_connection(served: Server) -> None:
    from pylon.views.web.connections import Limits

    server = served(shown=fleet(400, 8), limits=Limits(send_s=0.3))
    with server.connected() as client:
        for _ in range(30):
            try:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                break
        time.sleep(0.5)
        client.settimeout(5.0)
        assert len(read_all(client)) < 30 * len(server.get("/").body)
