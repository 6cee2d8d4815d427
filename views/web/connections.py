"""Connections with limits: how many, how long a request may take to come, and an answer to be taken.

uvicorn has a limit for the pause between two requests alone: a client that sends a byte now and then, or does
not read, would keep its connection without end.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
_RECEIVING = frozenset({h11.IDLE, h11.SEND_BODY})


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take.

    Attributes:
        connections: at the same time; more are refused with 503.
        streams: browsers that are kept up to date, likewise.
        head_bytes: of a request.
        receive_s: from the first byte, or from the connection's begin, to the end of a request.
        idle_s: between two requests.
        send_s: within which a client must take what was sent.
        answer_s: for the reading of records.
        end_s: for answers under way when the server ends.
    """

    connections: int = 400
    streams: int = 256
    head_bytes: int = 16 * 1024
    receive_s: float = 10.0
    idle_s: float = 15.0
    send_s: float = 20.0
    answer_s: float = 20.0
    end_s: float = 1.0


def protocol_of(limits: Limits) -> type[H11Protocol]:
    """A protocol class for uvicorn, which makes an object of it for each connection.

    Args:
        limits: what clients may take.
    """

    class BoundedProtocol(H11Protocol):
        """A connection."""

        _deadline: asyncio.TimerHandle | None = None
        _until_read: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Begin, or refuse one too many."""
            if len(self.connections) >= limits.connections:
                self.transport = transport
                transport.write(_BUSY)
                transport.close()
                return
            super().connection_made(transport)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            """End."""
            self._unwatch()
            if self._until_read is not None:
                self._until_read.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Take bytes of a request."""
            super().data_received(data)
            self._watch()

        def pause_writing(self) -> None:
            """Give a client that does not read some time."""
            super().pause_writing()
            self._until_read = self.loop.call_later(limits.send_s, self.transport.abort)

        def resume_writing(self) -> None:
            """Go on with a client that has read."""
            super().resume_writing()
            if self._until_read is not None:
                self._until_read.cancel()
                self._until_read = None

        def on_response_complete(self) -> None:
            """See that what was sent is taken."""
            self.loop.call_later(limits.send_s, self._cut_if_unsent)
            super().on_response_complete()

        def _watch(self) -> None:
            if self.conn.their_state not in _RECEIVING:
                self._unwatch()
            elif self._deadline is None:
                self._deadline = self.loop.call_later(limits.receive_s, self.transport.abort)

        def _unwatch(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _cut_if_unsent(self) -> None:
            if self.transport.get_write_buffer_size():
                self.transport.abort()

    return BoundedProtocol


def settings_of(limits: Limits) -> dict[str, Any]:
    """Settings of uvicorn for these limits."""
    return {
        "http": protocol_of(limits),
        "h11_max_incomplete_event_size": limits.head_bytes,
        "timeout_keep_alive": max(1, round(limits.idle_s)),
        "timeout_graceful_shutdown": max(1, round(limits.end_s)),
        "limit_concurrency": limits.connections + 1,
        "backlog": 128,
    }
