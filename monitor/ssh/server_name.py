"""How a server is named: as `ssh` takes it."""

import ipaddress
import re
from dataclasses import dataclass

from pylon.monitor.errors import MonitorSettingError

LOCALHOST = "localhost"

_EXPECTED = "localhost, host, user@host, host:port, user@host:port or user@[IPv6 address]:port"
# Names can end up in the shell's command line of a ProxyCommand, and an option starts with a hyphen.
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})")
_USER = re.compile(r"[A-Za-z0-9_.+][A-Za-z0-9_.+@-]{0,254}")
_ZONE = re.compile(r"[A-Za-z0-9._-]{1,16}")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class ServerName:
    """A server as the user named it, before ssh_config is asked.

    Attributes:
        host: name or address, without brackets; also an alias that only ssh_config knows.
        user, port: None where they were not named.
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
            text: see the module's examples in `_EXPECTED`; `ssh` splits at the last @ and so do we.
            where: where the text stands, for the error.

        Raises:
            MonitorSettingError: it is none of the accepted forms.
        """
        if not isinstance(text, str):
            raise MonitorSettingError(f"{where}: {text!r}, expected {_EXPECTED}.")
        before, at, rest = text.rpartition("@")
        host, port = _host_and_port(rest)
        if not is_host(host) or (at and not is_user(before)) or (port is not None and not is_port(port)):
            raise MonitorSettingError(f"{where}: {text!r}, expected {_EXPECTED}.")
        return cls(host, before if at else None, None if port is None else int(port))


def is_host(text: str) -> bool:
    """Whether `text` is a host name or an address, and harmless in a command line."""
    return _HOST.fullmatch(text) is not None or _is_ipv6(text)


def is_user(text: str) -> bool:
    """Whether `text` is a user's name, and harmless in a command line."""
    return _USER.fullmatch(text) is not None


def is_port(text: str) -> bool:
    """Whether `text` is a port's number."""
    return _PORT.fullmatch(text) is not None and 1 <= int(text) <= 65535


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
