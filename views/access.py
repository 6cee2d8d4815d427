"""Who may ask a server of ours: names that it answers to, and a token beyond this machine."""

import hmac
import ipaddress
import platform
import re
import socket
import stat
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from pylon.monitor import MonitorSettingError

_LEAST_CHARACTERS = 16
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_SCHEME = "bearer "
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::[0-9]*)?")


class AccessError(MonitorSettingError):
    """What a user asks for would let in others, or cannot be; the text names the fix."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens.

    Attributes:
        host: as the user gives it.
        port: as the user gives it; 0: any.
        family: of the socket.
        socket_address: for `bind`.
    """

    host: str
    port: int
    family: socket.AddressFamily
    socket_address: tuple[str, int]

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.socket_address[0].partition("%")[0]).is_loopback

    @classmethod
    def of(cls, host: str, port: int) -> "Address":
        """Look up a host.

        Raises:
            AccessError: it is not known.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AccessError(
                f"--host: {host!r}, expected a name or address of this machine ({reason})"
            ) from error
        family, _, _, _, address = found[0]
        return cls(host, port, family, (str(address[0]), int(address[1])))


@dataclass(frozen=True, slots=True)
class Access:
    """What a request must have.

    Attributes:
        hosts: names in its Host header, in small letters, without port.
        token: of its Authorization header; None: none is asked for.
    """

    hosts: frozenset[str]
    token: str | None = None

    @classmethod
    def of(
        cls,
        address: Address,
        allowed: Collection[str],
        token_file: Path | None,
        made_token: str | None = None,
    ) -> "Access":
        """The access to a server at `address`.

        Args:
            address: where it listens.
            allowed: further names by which clients call it.
            token_file: has the token; needed beyond loopback.
            made_token: takes its place.

        Raises:
            AccessError: there must be a token, or its file is no safe one.
        """
        if token_file is None and made_token is None and not address.is_loopback:
            raise AccessError(
                f"--host: {address.host!r} is reached from other machines, expected --token-file FILE with "
                "it. Make one: (umask 077; openssl rand -hex 32 > FILE)"
            )
        names = {address.host, address.socket_address[0], platform.node(), *allowed}
        hosts = _LOOPBACK_NAMES | {name.lower() for name in names if name}
        return cls(hosts, made_token if token_file is None else read_token(token_file))

    def refusal(self, host: str | None, authorization: str | None) -> HTTPStatus | None:
        """Why a request is refused; None: it is not.

        Args:
            host: its Host header. One that names no name of ours was made by a page that a browser shows.
            authorization: its Authorization header.
        """
        if _name_of(host) not in self.hosts:
            return HTTPStatus.MISDIRECTED_REQUEST
        if self.token is None or _is_token(authorization, self.token):
            return None
        return HTTPStatus.UNAUTHORIZED


def read_token(path: Path) -> str:
    """The token in a file that no other user can read.

    Raises:
        AccessError: it is too short, not there, or others can read it.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not ASCII"
        raise AccessError(f"--token-file: {str(path)!r} cannot be read ({reason})") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise AccessError(
            f"--token-file: {str(path)!r} has mode {stat.S_IMODE(mode):o}: other users can read it, expected "
            f"600. Run chmod 600 {path}, and use a new token"
        )
    if len(text) < _LEAST_CHARACTERS or not text.isprintable() or " " in text:
        raise AccessError(
            f"--token-file: {str(path)!r} has {len(text)} characters, expected one word of at least "
            f"{_LEAST_CHARACTERS}. Make one: (umask 077; openssl rand -hex 32 > {path})"
        )
    return text


def _is_token(authorization: str | None, token: str) -> bool:
    given = authorization or ""
    if given[: len(_SCHEME)].lower() != _SCHEME:
        return False
    word = given[len(_SCHEME) :].strip()
    return hmac.compare_digest(word.encode("utf-8", "replace"), token.encode())


def _name_of(host: str | None) -> str:
    """The name in a Host header, without its port; '' if it is none."""
    found = _HOST.fullmatch((host or "").lower())
    return "" if found is None else found[1] or found[2]
