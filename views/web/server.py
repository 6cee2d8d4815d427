"""The web server: uvicorn in a thread, on a socket that is open before anything else begins."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from pylon.views.access import Access, AccessError, Address
from pylon.views.web.answers import App
from pylon.views.web.app import Page, TextRoute
from pylon.views.web.connections import Limits, settings_of
from pylon.views.web.guard import Guard
from pylon.views.web.reading import Reader
from pylon.views.web.streams import Streams
from pylon.views.web.workers import Workers

_SEND_BYTES = 256 * 1024
_BEGIN_S = 10.0
_END_S = 1.8


def opened(address: Address) -> socket.socket:
    """A socket that listens.

    Raises:
        AccessError: the port is taken, or not ours to take.
    """
    found = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by connections: what waits in the kernel for a slow browser is old when it arrives.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        found.bind(address.socket_address)
        found.listen(128)
    except OSError as error:
        found.close()
        raise AccessError(
            f"--port: {address.port} at {address.host}: {error.strerror or error}. Choose another one, or "
            "end the program that has it."
        ) from error
    return found


def url_of(listening: socket.socket) -> str:
    """The address of the page."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


@contextmanager
def serving(
    listening: socket.socket,
    access: Access,
    reader: Reader,
    every_s: float,
    *,
    commands: bool = False,
    limits: Limits | None = None,
    texts: dict[str, TextRoute] | None = None,
) -> Iterator["Serving"]:
    """Answer until the block ends, and then for a moment more.

    Args:
        listening: the socket.
        access: who may ask.
        reader: takes the pictures.
        every_s: between two pictures.
        commands: whether command lines, masked, are shown.
        limits: what clients may take.
        texts: further routes, such as '/metrics'.
    """
    limits = limits or Limits()
    streams = Streams(lambda: reader.picture, limits)
    workers = Workers(limits.answer_s)
    page = Page.of(reader, streams, every_s, workers=workers, commands=commands, texts=texts)
    server = _Server(Guard(page, access, listening.getsockname()[1]), streams, limits)
    thread = threading.Thread(target=server.run_on, args=(listening,), name="web", daemon=True)
    thread.start()
    if not server.begun.wait(_BEGIN_S):
        raise AccessError("the web server did not begin")
    reader.on_picture(server.new_picture)
    try:
        yield Serving(streams, thread)
    finally:
        server.end()
        thread.join(_END_S)


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that answers.

    Attributes:
        streams: of all browsers.
    """

    streams: Streams
    _thread: threading.Thread

    @property
    def is_alive(self) -> bool:
        """Whether it still does."""
        return self._thread.is_alive()


class _Server:
    def __init__(self, app: App, streams: Streams, limits: Limits) -> None:
        self._streams = streams
        self._config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            loop="asyncio",
            interface="asgi3",
            **settings_of(limits),
        )
        self._uvicorn = uvicorn.Server(self._config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.begun = threading.Event()

    def run_on(self, listening: socket.socket) -> None:
        # What clients send is no trouble of ours.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        asyncio.run(self._run(listening))

    async def _run(self, listening: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self.begun.set()
        await self._uvicorn.serve([listening])

    def new_picture(self) -> None:
        self._later(self._streams.new_picture)

    def end(self) -> None:
        self._uvicorn.should_exit = True
        self._later(self._streams.end)

    def _later(self, action: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(action)
            except RuntimeError:
                # It was closed in this very moment: no browser is connected any more.
                return
