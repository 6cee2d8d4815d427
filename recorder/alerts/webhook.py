"""One message to one address: bounded in time, without redirects, and without the address in any text."""

import http.client
import json
import socket
import threading
import urllib.parse
from collections.abc import Mapping
from typing import Any

from pylon.threads import started

_TIMEOUT_S = 5.0
# Of a whole attempt: a server may answer byte by byte.
_ATTEMPT_S = 10.0
_MOST_ANSWER_BYTES = 4096


class NotifyError(ValueError):
    """An address that messages cannot be sent to; the text names what was expected, and hides its secrets."""


class DeliveryError(Exception):
    """A message was not taken.

    Attributes:
        again: whether to try it again.
    """

    def __init__(self, text: str, *, again: bool) -> None:
        self.again = again
        super().__init__(text)


class Webhook:
    """Posts messages as JSON. The forms of Slack and Discord are known by their hosts.

    Args:
        url: an http or https address. Its path and query are secrets, as those services give them.

    Raises:
        NotifyError: it is no such address.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urllib.parse.urlsplit(url)
            self._port = parts.port
        except ValueError as error:
            raise NotifyError(
                "notify: the address has no valid host and port, expected https://HOST/PATH"
            ) from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise NotifyError(f"notify: {shown(url)} is no address of a webhook, expected https://HOST/PATH")
        if parts.username is not None:
            raise NotifyError(
                f"notify: the address at {shown(url)} has a login, which is not sent; leave it out"
            )
        if any(character <= " " for character in url):
            raise NotifyError(f"notify: the address at {shown(url)} has blanks, expected https://HOST/PATH")
        self._host, self._secure = parts.hostname, parts.scheme == "https"
        self._target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        self.shown = shown(url)

    def send(self, title: str, text: str, facts: Mapping[str, Any]) -> None:
        """Post a message.

        Raises:
            DeliveryError: it was not taken.
        """
        body = json.dumps(_form(self._host, title, text, facts)).encode()
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=_TIMEOUT_S)
        timer = threading.Timer(_ATTEMPT_S, _cut, [connection])
        timer.daemon = True
        started(timer)  # if not, sending may take longer
        try:
            headers = {"Content-Type": "application/json", "User-Agent": "pylon"}
            connection.request("POST", self._target, body, headers)
            answer = connection.getresponse()
            answer.read(_MOST_ANSWER_BYTES)
            status = answer.status
        except (OSError, http.client.HTTPException) as error:
            # The text of some of them has the address.
            raise DeliveryError(type(error).__name__, again=True) from None
        finally:
            timer.cancel()
            connection.close()
        if 200 <= status < 300:
            return
        where = " (redirects are not followed)" if 300 <= status < 400 else ""
        raise DeliveryError(f"status {status}{where}", again=status == 429 or status >= 500)


def shown(url: str) -> str:
    """An address for logs: scheme and host; of other services the scheme alone: a token may be the host."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or "?"
    except ValueError:
        return "?"
    web = parts.scheme in {"http", "https"}
    return f"{parts.scheme or '?'}://{host + '/' if web else ''}..."


def _form(host: str, title: str, text: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    whole = f"{title}\n{text}"
    if host == "hooks.slack.com":
        return {"text": whole}
    if host in {"discord.com", "discordapp.com"} or host.endswith(".discord.com"):
        return {"content": whole[:2000]}
    return {"title": title, "text": text, **facts}


def _cut(connection: http.client.HTTPConnection) -> None:
    """End whatever the connection waits for."""
    if connection.sock is not None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
