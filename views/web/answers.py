"""Requests and answers: as much of HTTP as the page needs, over ASGI."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

HTML = "text/html; charset=utf-8"
JSON = "application/json; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"
MOST_BODY_BYTES = 4096
_MOST_FIELDS = 64


class BadRequestError(Exception):
    """A request that is none of the page's."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, without its body.

    Attributes:
        method, path: as sent; the path decoded.
        query: names and values in their order.
        headers: by name in small letters; of several of one name the last.
        receive: gives the body.
        size: of path, query and headers, in bytes.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    receive: Receive
    size: int = 0

    @classmethod
    def of(cls, scope: Mapping[str, Any], receive: Receive) -> "Request":
        """From an ASGI scope.

        Raises:
            BadRequestError: the query has too many fields.
        """
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope.get("query_string", b"").decode("latin-1")
        size = (
            len(scope["path"]) + len(query) + sum(len(name) + len(value) for name, value in scope["headers"])
        )
        return cls(scope["method"], scope["path"], _fields(query), headers, receive, size)

    def values(self, name: str) -> list[str]:
        """All values of a name in the query."""
        return [value for key, value in self.query if key == name]

    def cookie(self, name: str) -> str:
        """A cookie; '' if there is none."""
        for one in self.headers.get("cookie", "").split(";"):
            key, _, value = one.strip().partition("=")
            if key == name:
                return value
        return ""

    async def form(self) -> dict[str, str]:
        """The fields of a form in the body.

        Raises:
            BadRequestError: it is too long, or the client is gone.
        """
        body = b""
        more = True
        while more:
            message = await self.receive()
            if message["type"] != "http.request":
                raise BadRequestError("the body is incomplete")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MOST_BODY_BYTES:
                raise BadRequestError(f"the body has more than {MOST_BODY_BYTES} bytes")
        return dict(_fields(body.decode("latin-1")))


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        body: its bytes.
        type: content type.
        status: of HTTP.
        headers: further ones.
    """

    body: bytes
    type: str = JSON
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


def refused(status: HTTPStatus, text: str = "", **headers: str) -> Answer:
    """An answer of one line; nothing of the request is in it."""
    line = f"{status.value} {status.phrase}" + (f": {text}" if text else "")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(f"{line}\n".encode(), PLAIN, status, named)


async def send_answer(send: Send, answer: Answer) -> None:
    """Send it."""
    headers = {"content-type": answer.type, "content-length": str(len(answer.body)), **answer.headers}
    await send(start_of(answer.status, headers))
    await send({"type": "http.response.body", "body": answer.body})


def start_of(status: HTTPStatus, headers: Mapping[str, str]) -> Message:
    """The begin of an answer."""
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status.value, "headers": encoded}


def _fields(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise BadRequestError(f"more than {_MOST_FIELDS} fields") from None
