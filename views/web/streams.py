"""Server-sent events: each browser gets the newest picture, and what changed since the one that it has.

    reader's thread ──new picture──> one event for all ──> each stream: frame, or a comment when all is quiet

Nothing is queued: a browser that reads slowly misses pictures, and each frame has how many those were.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from pylon.views.web.answers import Message, Receive, Request, Send, refused, send_answer, start_of
from pylon.views.web.connections import Limits
from pylon.views.web.picture import Picture

_HEARTBEAT_S = 15.0
_RETRY_MS = 3000
_RETRY_AFTER = "5"
_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    # A proxy that collects the answer would keep everything back.
    "x-accel-buffering": "no",
}


class Streams:
    """All browsers that are kept up to date.

    Args:
        picture: gives the newest.
        limits: how many.
        heartbeat_s: a comment is sent after so long without a picture.
    """

    def __init__(
        self, picture: Callable[[], Picture], limits: Limits, heartbeat_s: float = _HEARTBEAT_S
    ) -> None:
        self._picture, self._limits, self._heartbeat_s = picture, limits, heartbeat_s
        self._open = 0
        self._ended = False
        self._news = asyncio.Event()
        self._frames: dict[tuple[int, bool], bytes] = {}
        self._frames_of = 0

    @property
    def open(self) -> int:
        """How many there are."""
        return self._open

    def new_picture(self) -> None:
        """Wake all streams; called in the loop's thread."""
        self._news.set()
        self._news = asyncio.Event()

    def end(self) -> None:
        """End all streams; called in the loop's thread."""
        self._ended = True
        self.new_picture()

    async def answer(self, request: Request, send: Send) -> None:
        """Send pictures until the client is gone."""
        if self._open >= self._limits.streams or self._ended:
            text = f"{self._limits.streams} browsers are connected"
            await send_answer(send, refused(HTTPStatus.SERVICE_UNAVAILABLE, text, retry_after=_RETRY_AFTER))
            return
        self._open += 1
        gone = asyncio.ensure_future(_until_gone(request.receive))
        try:
            await send(start_of(HTTPStatus.OK, _HEADERS))
            if request.method == "GET":
                await self._send_all(_known(request), gone, send)
            if not gone.done():
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._open -= 1
            gone.cancel()

    async def _send_all(self, known: int, gone: "asyncio.Future[None]", send: Send) -> None:
        await send(_part(f"retry: {_RETRY_MS}\n\n".encode()))
        in_stream = False
        while not self._ended and not gone.done():
            news = self._news
            picture = self._picture()
            if not picture.is_empty and picture.number != known:
                await send(_part(self._frame(picture, known, in_stream)))
                known, in_stream = picture.number, True
                continue
            waiter = asyncio.ensure_future(_waited(news))
            done, _ = await asyncio.wait(
                {waiter, gone}, timeout=self._heartbeat_s, return_when=asyncio.FIRST_COMPLETED
            )
            waiter.cancel()
            if not done:
                await send(_part(b": quiet\n\n"))

    def _frame(self, picture: Picture, known: int, in_stream: bool) -> bytes:
        """The same bytes for all browsers that know the same picture."""
        if self._frames_of != picture.number:
            self._frames, self._frames_of = {}, picture.number
        key = known, in_stream
        if key not in self._frames:
            text = picture.frame(known, in_stream=in_stream)
            frame = f"event: picture\nid: {picture.number}\ndata: {text}\n\n".encode()
            # Each of very slow browsers may know another one.
            if len(self._frames) >= 8:
                return frame
            self._frames[key] = frame
        return self._frames[key]


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _waited(news: asyncio.Event) -> None:
    await news.wait()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _known(request: Request) -> int:
    """The picture that the browser has: of its former connection, or of its page."""
    given = request.headers.get("last-event-id") or next(iter(request.values("known")), "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 16 else 0
