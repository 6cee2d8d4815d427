"""Metrics over HTTP: one request per connection, each with a deadline and limits.

    accept ── at most MOST at a time ──> thread: head within DEADLINE_S ──> guard ──> text, made once a second

A sender that is slow, or sends much, loses its connection. Nothing here can be held by a client.
"""

import gzip
import io
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from pylon.views.access import Access, AccessError, Address
from pylon.views.export.picture import Picture
from pylon.views.export.text import metrics_text

DEADLINE_S = 10.0
MOST_CONNECTIONS = 32
MOST_HEAD_BYTES = 16 * 1024
# Clients that ask at the same time get the same text: each costs little more than its sending.
_FRESH_S = 1.0
_PLAIN = "text/plain; charset=utf-8"
_END = b"\r\n\r\n"
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


class _Texts:
    """The newest text for each kind of client."""

    def __init__(self, picture: Callable[[], Picture]) -> None:
        self._picture = picture
        self._lock = threading.Lock()
        self._made: dict[str, tuple[float, bytes, str]] = {}

    def get(self, accept: str) -> tuple[bytes, str]:
        with self._lock:
            now_s = time.monotonic()
            self._made = {key: one for key, one in self._made.items() if now_s - one[0] < _FRESH_S}
            if accept not in self._made:
                self._made[accept] = (now_s, *metrics_text(self._picture(), accept))
            _, body, content_type = self._made[accept]
        return body, content_type


# The hooks of socketserver have no types.
class MetricsServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Answers `/metrics` and `/-/ready`.

    Args:
        address: where it listens.
        access: who may ask.
        picture: takes one.

    Raises:
        AccessError: it cannot listen there.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: Address, access: Access, picture: Callable[[], Picture]) -> None:
        self.address_family = address.family
        self.access, self.texts, self.picture = access, _Texts(picture), picture
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        try:
            super().__init__(address.socket_address, _Handler)
        except OSError as error:
            raise AccessError(
                f"--port: {address.port} at {address.host}: {error.strerror or error}. Choose another, or "
                "end the program that has it."
            ) from error

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{name}:{port}/metrics"

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Answer in a thread of its own until the block ends; no answer under way is waited for."""
        thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Start a thread for a connection, or refuse it if there are too many."""
        if not self._free.acquire(blocking=False):
            request.settimeout(0)
            with suppress(OSError):
                request.send(_BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # No thread can be started.
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Show what is wrong here; a client that is gone or too slow is no error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    server_version, sys_version = "pylon", ""

    def setup(self) -> None:
        """Read the whole head before any of it is looked at."""
        super().setup()
        self.command, self.headers = "", Message()
        self.rfile = io.BufferedReader(io.BytesIO(_head(self.connection)))
        self.connection.settimeout(DEADLINE_S)

    def do_GET(self) -> None:
        """Answer with a body."""
        path = urlsplit(self.path).path
        refusal = self.server.access.refusal(self.headers.get("Host"), self.headers.get("Authorization"))
        if refusal is not None:
            self._answer(refusal)
        elif path == "/metrics":
            body, content_type = self.server.texts.get(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, body, content_type)
        elif path == "/-/ready":
            ready = any(server.measured_s is not None for server in self.server.picture().servers)
            self._answer(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def do_HEAD(self) -> None:
        """Answer without the body."""
        self.do_GET()

    def send_error(self, code: int, *_: object, **__: object) -> None:
        """Answer what the base class cannot: nothing of the request is in the answer."""
        self._answer(HTTPStatus(code))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401 - as the base class
        """No log: it would grow with the requests."""

    def _answer(self, status: HTTPStatus, body: bytes | None = None, content_type: str = _PLAIN) -> None:
        text = f"{status.value} {status.phrase}\n".encode() if body is None else body
        zipped = body is not None and "gzip" in self.headers.get("Accept-Encoding", "")
        text = gzip.compress(text, 1) if zipped else text
        self.send_response(status)
        headers = {
            "Content-Type": content_type,
            "Content-Length": str(len(text)),
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        if zipped:
            headers["Content-Encoding"] = "gzip"
        if status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)


def _head(connection: socket.socket) -> bytes:
    """The request up to the empty line.

    Raises:
        OSError: it does not come in time, or is too long.
    """
    until_s = time.monotonic() + DEADLINE_S
    found = b""
    while _END not in found:
        if len(found) > MOST_HEAD_BYTES:
            raise OSError("the head of the request is too long")
        connection.settimeout(max(0.001, until_s - time.monotonic()))
        part = connection.recv(4096)
        if not part or time.monotonic() > until_s:
            raise TimeoutError("the request is incomplete")
        found += part
    return found
