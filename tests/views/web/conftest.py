"""The page's server in this process, with servers and runs that were made up."""

import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pylon.monitor import SystemSnapshot
from pylon.views.access import Access, Address
from tests.monitor.statuses import gpu, gpus, process, snapshot
from tests.recorder.synthetic import EVIL, Run, write_history

TOKEN = "a-token-of-some-length"
EVIL_PROCESS = "<img src=x onerror=alert(1)>\x1b[2J"


class MadeUp:
    """What SystemMonitor has, without processes."""

    def __init__(self, shown: SystemSnapshot) -> None:
        self.shown = shown

    def latest(self) -> SystemSnapshot:
        return self.shown

    def health(self) -> Mapping[str, Any]:
        return {}


def fleet(servers: int = 1, cards: int = 2) -> SystemSnapshot:
    evil = dataclasses.replace(process(), name=EVIL_PROCESS, command=f"train {EVIL_PROCESS}", owner_name=EVIL)
    samples = [gpu(number, processes=(evil,)) for number in range(cards)]
    return snapshot(**{f"gpu{number}": gpus(*samples) for number in range(servers)})


class Served:
    """A server that runs, and how to ask it."""

    def __init__(self, reader: Any, port: int, streams: Any) -> None:
        self.reader, self.port, self.streams = reader, port, streams

    def raw(self, text: bytes, *, wait_s: float = 5.0) -> bytes:
        """All that comes back until the server closes the connection."""
        with self.connected(wait_s) as client:
            client.sendall(text)
            return read_all(client)

    def get(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> "Reply":
        named = {"Host": f"localhost:{self.port}", "Connection": "close"}
        if body or method == "POST":
            named["Content-Length"] = str(len(body))
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        return Reply(self.raw(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body))

    def connected(self, wait_s: float = 5.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=wait_s)


class Reply:
    def __init__(self, text: bytes) -> None:
        head, _, self.body = text.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1]) if lines[0] else 0
        self.headers = [
            (name.lower(), value) for name, _, value in (line.partition(": ") for line in lines[1:])
        ]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def text(self) -> str:
        return self.body.decode()


def read_all(client: socket.socket) -> bytes:
    found = b""
    try:
        while part := client.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


def eventually(holds: Callable[[], bool], within_s: float = 5.0) -> bool:
    until_s = time.monotonic() + within_s
    pause = threading.Event()
    while not holds() and time.monotonic() < until_s:
        pause.wait(0.01)
    return holds()


Server = Callable[..., Served]


@pytest.fixture
def served() -> Iterator[Server]:
    """Starts servers; the settings are those of `serving`, of the reader, and of the access."""
    from pylon.views.web.reading import Reader
    from pylon.views.web.server import opened, serving

    with ExitStack() as stack:

        def start(
            paths: tuple[Path, ...] = (),
            shown: SystemSnapshot | None = None,
            token: str | None = None,
            every_s: float = 3600.0,
            **settings: Any,
        ) -> Served:
            shown = fleet() if shown is None else shown
            reader = Reader(MadeUp(shown), list(shown.cpu), paths, every_s)  # type: ignore[arg-type]
            address = Address.of("127.0.0.1", 0)
            access = Access.of(address, [], None, token)
            listening = stack.enter_context(opened(address))
            server = stack.enter_context(serving(listening, access, reader, every_s, **settings))
            stack.enter_context(reader)
            port = listening.getsockname()[1]
            assert eventually(lambda: not reader.picture.is_empty)

            def has_runs() -> bool:
                reader.take()
                return bool(reader.picture.runs)

            assert not paths or eventually(has_runs)
            return Served(reader, port, server.streams)

        yield start


@pytest.fixture(scope="session")
def evil_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record whose name, folder and host are attacks."""
    folder = tmp_path_factory.mktemp("runs") / "'; DROP TABLE launch; --"
    return write_history(folder / "history.sqlite", Run(seconds=60, name=EVIL, host=EVIL))
