"""A TCP proxy on loopback that does to a connection what networks do.

with FaultProxy(("127.0.0.1", sshd.port)) as proxy:
    proxy.faults = Faults(delay_s=0.2)      # also for connections that are open

black hole           Faults(hole=True)            takes connections and bytes, passes none on
address never there  see `never_accepts`
reset                proxy.reset(); Faults(reset_after=0)
half open            proxy.half_open()            the server is gone, the client is not told
delay                Faults(delay_s=0.2)
drip                 Faults(bytes_per_s=1)
cut                  Faults(cut_after=5000)       in bytes from the server, in mid-frame or wherever
slow banner          Faults(first_delay_s=3)
stalled kex          Faults(hold_after=60)        passes on the banner and no more
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

_CHUNK = 65536
_LOOK_AGAIN_S = 0.02


@dataclass(frozen=True)
class Faults:
    """What is done to the bytes from the server, and where it says so to those from the client.

    Attributes:
        hole: nothing is read or passed on, either way, as long as this is set.
        delay_s: each chunk comes so much later, either way.
        bytes_per_s: no more than this, in single bytes.
        first_delay_s: the first byte comes so much later.
        hold_after: after so many bytes nothing more comes, without an end.
        cut_after: after so many bytes the connection is closed in order.
        reset_after: after so many bytes it is reset.
    """

    hole: bool = False
    delay_s: float = 0.0
    bytes_per_s: float | None = None
    first_delay_s: float = 0.0
    hold_after: int | None = None
    cut_after: int | None = None
    reset_after: int | None = None


class FaultProxy:
    """Listens on a port of its own and passes on to `target`.

    Attributes:
        faults: looked at for every chunk; set it at any time.
        accepted: connections so far.
        passed: bytes from the server to clients so far.
    """

    def __init__(self, target: tuple[str, int], address: str = "127.0.0.1") -> None:
        self.faults = Faults()
        self.accepted = 0
        self.passed = 0
        self._target = target
        self._listener = socket.create_server((address, 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.port = self.address[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)
        self._clients: set[asyncio.StreamWriter] = set()
        self._servers: set[asyncio.StreamWriter] = set()
        self._half_open = False
        self._stopped: asyncio.Event | None = None
        self._ready = threading.Event()

    def reset(self) -> None:
        """Reset all connections, towards the client and the server."""
        self._loop.call_soon_threadsafe(lambda: [_reset(one) for one in self._clients | self._servers])

    def half_open(self) -> None:
        """Close all connections to the server, and leave those to clients as they are: silent."""

        def close() -> None:
            self._half_open = True
            for one in self._servers:
                one.transport.abort()

        self._loop.call_soon_threadsafe(close)

    def heal(self) -> None:
        """No faults any more for new connections; what was half open stays dead."""
        self._half_open = False
        self.faults = Faults()

    def __enter__(self) -> Self:
        """Listening."""
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        """All connections closed."""
        stopped = self._stopped
        assert stopped is not None
        self._loop.call_soon_threadsafe(stopped.set)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._client, sock=self._listener)
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for one in self._clients | self._servers:
            one.transport.abort()
        tasks = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._clients.add(writer)
        upstream = None
        try:
            if self.faults.reset_after == 0:
                _reset(writer)
                return
            server_reader, upstream = await asyncio.open_connection(*self._target)
            self._servers.add(upstream)
            both = [
                asyncio.ensure_future(self._to_server(reader, upstream)),
                asyncio.ensure_future(self._to_client(server_reader, writer)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                while self._half_open:
                    await asyncio.sleep(_LOOK_AGAIN_S)
            finally:
                for one in both:
                    one.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        except OSError:
            return
        finally:
            self._clients.discard(writer)
            writer.close()
            if upstream is not None:
                self._servers.discard(upstream)
                upstream.close()

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await self._next(reader):
            await asyncio.sleep(self.faults.delay_s)
            writer.write(data)
            await writer.drain()

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        while data := await self._next(reader):
            if count == 0:
                await asyncio.sleep(self.faults.first_delay_s)
            await asyncio.sleep(self.faults.delay_s)
            while data:
                part, data = self._share(data, count)
                writer.write(part)
                await writer.drain()
                count += len(part)
                self.passed += len(part)
                if self.faults.bytes_per_s is not None:
                    await asyncio.sleep(len(part) / self.faults.bytes_per_s)
                while self.faults.hold_after is not None and count >= self.faults.hold_after:
                    await asyncio.sleep(_LOOK_AGAIN_S)
                if self.faults.cut_after is not None and count >= self.faults.cut_after:
                    return
                if self.faults.reset_after is not None and count >= self.faults.reset_after:
                    _reset(writer)
                    return

    def _share(self, data: bytes, count: int) -> tuple[bytes, bytes]:
        """What may go on at once, and the rest."""
        faults = self.faults
        limits = [one - count for one in (faults.hold_after, faults.cut_after, faults.reset_after) if one]
        size = min([len(data), *(max(1, one) for one in limits)])
        if faults.bytes_per_s is not None:
            size = 1
        return data[:size], data[size:]

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        while self.faults.hole:
            await asyncio.sleep(_LOOK_AGAIN_S)
        data = await reader.read(_CHUNK)
        while self.faults.hole:
            await asyncio.sleep(_LOOK_AGAIN_S)
        return data


@contextlib.contextmanager
def never_accepts(address: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """An address whose queue of connections is full: a further one gets no answer at all."""
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind((address, 0))
        listener.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()


def _reset(writer: asyncio.StreamWriter) -> None:
    plain = writer.get_extra_info("socket")
    if plain is not None:
        # To close with nothing to wait for is to reset.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
