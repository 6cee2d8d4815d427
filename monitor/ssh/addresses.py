"""From a host's name to a TCP connection, within a time."""

import errno
import ipaddress
import socket
import threading
from typing import Any

from pylon.monitor.ssh.deadline import Deadline
from pylon.monitor.ssh.errors import (
    DeadlineError,
    NoAddressError,
    NoNameServerError,
    RefusedError,
    UnreachableError,
)

# Answers; others, as EAI_AGAIN, mean that there is none now.
_NO_ADDRESS = (socket.EAI_NONAME, socket.EAI_NODATA)
# Answers too, from the server's machine, a router or this machine.
_REFUSED = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)

_Address = tuple[socket.AddressFamily, tuple[Any, ...]]


def connect(
    server: str,
    host: str,
    port: int,
    deadline: Deadline,
    timeout_s: float | None,
    *,
    family: int | None = None,
    bind_address: str | None = None,
) -> socket.socket:
    """Connect to the first address of `host` that answers.

    Args:
        server: its name, for errors.
        host, port: where to.
        deadline: for all of it. Each address gets its share of what is left.
        timeout_s: the most for one address; None: no bound but the deadline.
        family: the only kind of address to use; None: any.
        bind_address: address of this machine to connect from; None: any.

    Raises:
        NoAddressError: the name has none.
        NoNameServerError: the name cannot be looked up now.
        RefusedError: each of them refuses the connection.
        UnreachableError: none answers.
        DeadlineError: the time is over.
    """
    addresses = [
        one for one in _addresses(server, host, port, deadline) if family is None or one[0] == family
    ]
    failures: list[str] = []
    refusals = 0
    for number, (kind, address) in enumerate(addresses):
        share_s = deadline.left_s / (len(addresses) - number)
        limit_s = share_s if timeout_s is None else min(share_s, timeout_s)
        if limit_s <= 0:
            break
        end = socket.socket(kind, socket.SOCK_STREAM)
        try:
            end.settimeout(limit_s)
            if bind_address is not None:
                end.bind((bind_address, 0))
            end.connect(address)
            # A request is one small packet, to be sent at once.
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except TimeoutError:
            end.close()
            failures.append(f"{address[0]} did not answer within {limit_s:.3g} s")
        except OSError as error:
            end.close()
            failures.append(f"{address[0]}: {error.strerror or error}")
            refusals += error.errno in _REFUSED
        else:
            return end
    why = "; ".join(failures) or "no address of the AddressFamily that ssh_config sets"
    text = f"{server}: no connection to port {port}: {why}."
    if deadline.passed:
        raise DeadlineError(text)
    raise RefusedError(text) if 0 < refusals == len(addresses) else UnreachableError(text)


class _Lookup:
    """One question to the resolver, which nothing can interrupt: in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.key = (host, port)
        self.done = threading.Event()
        self.answer: list[_Address] = []
        self.error: OSError | None = None

    def run(self) -> None:
        try:
            found = socket.getaddrinfo(*self.key, type=socket.SOCK_STREAM)
            self.answer = [(one[0], one[4]) for one in found]
        except (OSError, UnicodeError) as error:
            self.error = error if isinstance(error, OSError) else OSError(str(error))
        finally:
            with _lock:
                _running.pop(self.key, None)
            self.done.set()


_lock = threading.Lock()
# One thread per name at most, however often a resolver that hangs is asked for it.
_running: dict[tuple[str, int], _Lookup] = {}


def _addresses(server: str, host: str, port: int, deadline: Deadline) -> list[_Address]:
    if _is_address(host):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [(one[0], one[4]) for one in found]
    with _lock:
        lookup = _running.get((host, port))
        if lookup is None:
            lookup = _Lookup(host, port)
            threading.Thread(target=lookup.run, name=f"look up {host}", daemon=True).start()
            # Not before: what could not be started would be waited for by every later question.
            _running[(host, port)] = lookup
    if not lookup.done.wait(deadline.left_s):
        raise DeadlineError(f"{server}: the name {host!r} was not resolved within {deadline.seconds:g} s.")
    if lookup.error is not None:
        kind = NoAddressError if lookup.error.errno in _NO_ADDRESS else NoNameServerError
        raise kind(f"{server}: the name {host!r} has no address: {lookup.error.strerror or lookup.error}.")
    return lookup.answer


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
