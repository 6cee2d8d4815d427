"""How a server is named: as `ssh` takes it."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote

from pylon.monitor.errors import MonitorSettingError

LOCALHOST = "localhost"

_EXPECTED = (
    "localhost, host, user@host, host:port, user@host:port, user@[IPv6 address]:port"
    " or ssh://[user@]host[:port], without blanks and shell characters"
)
_URI = "ssh://"
_LONGEST = 255
# What ssh refuses, because names can end up in the shell's command line of a ProxyCommand. In a host's
# name a colon and brackets belong to the port and to IPv6 addresses, and % to the zone of one.
_NOT_IN_HOST = frozenset("'`\"$\\;&<>|(){},@:[]%")
_NOT_IN_USER = frozenset("'`\";&<>|(){}")
_ZONE = re.compile(r"[A-Za-z0-9._-]{1,16}")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class ServerName:
    """A server as the user named it, before ssh_config is asked.

    Attributes:
        host: name or address, without brackets; also an alias that only ssh_config knows.
        user, port: None if they were not named.
    """

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def is_local(self) -> bool:
        """Whether this machine itself is meant, which takes no SSH: `localhost` and nothing more."""
        return self.host == LOCALHOST and self.user is None and self.port is None

    def __str__(self) -> str:
        user = "" if self.user is None else f"{self.user}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{user}{host}{port}"

    @classmethod
    def parse(cls, text: str, where: str = "server") -> "ServerName":
        """The name that `text` writes.

        Args:
            text: one of the forms in `_EXPECTED`; `ssh` splits at the last @ and so do we.
            where: the setting that holds the text, for the error.

        Raises:
            MonitorSettingError: it is none of the accepted forms.
        """
        if not isinstance(text, str):
            raise MonitorSettingError(f"{where}: {text!r}, expected {_EXPECTED}.")
        before, at, rest = _without_scheme(text).rpartition("@")
        host, port = _host_and_port(rest)
        if not is_host(host) or (at and not is_user(before)) or (port is not None and not is_port(port)):
            raise MonitorSettingError(f"{where}: {text!r}, expected {_EXPECTED}.")
        return cls(host, before if at else None, None if port is None else int(port))


def is_host(text: str) -> bool:
    """Whether `text` is a host name or an address that ssh takes too, and harmless in a command line."""
    if not _is_word(text, _NOT_IN_HOST):
        return _is_ipv6(text)
    # A path made of the name (%h) must not lead out of its folder; ssh itself has no such rule.
    return ".." not in text.split("/")


def is_user(text: str) -> bool:
    """Whether `text` is a user's name that ssh takes too, and harmless in a command line."""
    return _is_word(text, _NOT_IN_USER) and not text.endswith("\\")


def is_port(text: str) -> bool:
    """Whether `text` is a port's number."""
    return _PORT.fullmatch(text) is not None and 1 <= int(text) <= 65535


def _is_word(text: str, refused: frozenset[str]) -> bool:
    return (
        0 < len(text) <= _LONGEST
        and not text.startswith("-")
        # Control characters, blanks of all alphabets and marks that turn the direction of text.
        and text.isprintable()
        and " " not in text
        and not refused.intersection(text)
    )


def _without_scheme(text: str) -> str:
    """`text`, or what an ssh:// address comes to: user and host may have %20 and the like, no path."""
    if not text.startswith(_URI):
        return text
    user, at, rest = text.removeprefix(_URI).removesuffix("/").rpartition("@")
    if "/" in rest:
        return ""
    # Connection parameters ("user;fingerprint=..."), which ssh leaves out too.
    return f"{unquote(user.partition(';')[0], errors='surrogateescape') if at else ''}{at}{rest}"


def _host_and_port(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        # Brackets are for IPv6 alone: "[gpu1]:22" is a form of known_hosts, not of ssh.
        if not bracket or not _is_ipv6(host) or (port and not port.startswith(":")):
            return "", None
        return host, port[1:] if port else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _is_ipv6(text: str) -> bool:
    address, percent, zone = text.partition("%")
    if percent and _ZONE.fullmatch(zone) is None:
        return False
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return True
