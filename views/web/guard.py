"""Who gets an answer, and what every answer carries.

    Host is ours ──> method ──> not from another site ──> token (cookie or header) ──> the page

The token is never part of an address: it is sent in the body of a form once, and the browser gets a cookie
that is made of it with a key of this process, and ends with it.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any

from pylon.views.access import Access
from pylon.views.web.answers import (
    MOST_BODY_BYTES,
    Answer,
    App,
    BadRequestError,
    Message,
    Receive,
    Request,
    Send,
    refused,
    send_answer,
)
from pylon.views.web.pages import login_page

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_ENCODED = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
LOGIN = "/login"
# What the form to log in looks like.
_OPEN = frozenset({"/static/page.css", "/static/live.css", "/static/icon.svg"})
# h11 has a limit for a head that comes in parts only.
_MOST_HEAD_BYTES = 16 * 1024
_METHODS = frozenset({"GET", "HEAD"})
# A wrong token holds up its sender alone.
_WRONG_TOKEN_S = 0.5


class Guard:
    """An app in front of another one.

    Args:
        app: gets what is let through.
        access: what a request must have.
        port: is part of the cookie's name: browsers send one to all ports of a host.
    """

    def __init__(self, app: App, access: Access, port: int) -> None:
        self._app, self._access = app, access
        self._cookie = f"pylon_{port}"
        token = (access.token or "").encode()
        self._session = hmac.new(secrets.token_bytes(32), token, hashlib.sha256).hexdigest()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_ENCODED]
            await send(message)

        try:
            request = Request.of(scope, receive)
            answer = await self._answer(request)
        except BadRequestError as error:
            answer = refused(HTTPStatus.BAD_REQUEST, str(error), connection="close")
        if answer is None:
            await self._app(scope, receive, send_with_headers)
        else:
            await send_answer(send_with_headers, answer)

    async def _answer(self, request: Request) -> Answer | None:
        """An answer in place of the app's; None: the request goes through."""
        refusal = self._access.refusal(request.headers.get("host"), request.headers.get("authorization"))
        if refusal is HTTPStatus.MISDIRECTED_REQUEST:
            return refused(refusal, "this name is none of ours; --allow-host NAME adds it")
        if _is_of_another_site(request):
            return refused(HTTPStatus.FORBIDDEN, "asked by a page of another site")
        if request.path == LOGIN and self._access.token is not None:
            return await self._login(request)
        is_known = refusal is None or self._is_logged_in(request) or request.path in _OPEN
        return _refusal_of_form(request) or (None if is_known else _login_first(request))

    async def _login(self, request: Request) -> Answer:
        if request.method in _METHODS:
            return login_page(failed=False)
        if request.method != "POST":
            return refused(HTTPStatus.METHOD_NOT_ALLOWED, allow="GET, HEAD, POST", connection="close")
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length[:9]) > MOST_BODY_BYTES:
            return refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, connection="close")
        given = (await request.form()).get("token", "").strip()
        if not hmac.compare_digest(given.encode("utf-8", "replace"), (self._access.token or "").encode()):
            await asyncio.sleep(_WRONG_TOKEN_S)
            return login_page(failed=True)
        cookie = f"{self._cookie}={self._session}; HttpOnly; SameSite=Strict; Path=/"
        return Answer(b"", status=HTTPStatus.SEE_OTHER, headers={"location": "/", "set-cookie": cookie})

    def _is_logged_in(self, request: Request) -> bool:
        given = request.cookie(self._cookie).encode("utf-8", "replace")
        return hmac.compare_digest(given, self._session.encode())


def _is_of_another_site(request: Request) -> bool:
    """Whether a page of another site asks for data; a link to the page itself is followed."""
    site = request.headers.get("sec-fetch-site", "none")
    return site not in {"none", "same-origin"} and request.headers.get("sec-fetch-mode") != "navigate"


def _refusal_of_form(request: Request) -> Answer | None:
    """All that is answered is asked with GET and without a body."""
    if request.size > _MOST_HEAD_BYTES:
        return refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, connection="close")
    if request.method not in _METHODS:
        return refused(HTTPStatus.METHOD_NOT_ALLOWED, allow="GET, HEAD", connection="close")
    if _has_body(request):
        return refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "expected no body", connection="close")
    return None


def _login_first(request: Request) -> Answer:
    if "text/html" in request.headers.get("accept", ""):
        return Answer(b"", status=HTTPStatus.SEE_OTHER, headers={"location": LOGIN})
    return refused(HTTPStatus.UNAUTHORIZED, "log in at /login, or send Authorization: Bearer TOKEN")


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
