"""From a host's name to a TCP connection, within a time."""

import ipaddress
import socket
import threading
from typing import Any

from pylon.monitor.ssh.deadline import Deadline
from pylon.monitor.ssh.errors import DeadlineError, UnreachableError

_Address = tuple[socket.AddressFamily, tuple[Any, ...]]


def connect(server: str, host: str, port: int, deadline: Deadline, timeout_s: float | None) -> socket.socket:
    """Connect to the first address of `host` that answers.

    Args:
        server: its name, for errors.
        host, port: where to.
        deadline: for all of it. Each address gets its share of what is left.
        timeout_s: the most for one address; None: no bound but the deadline.

    Raises:
        UnreachableError: there is no address, or none answers.
        DeadlineError: the time is over.
    """
    addresses = _addresses(server, host, port, deadline)
    failures = []
    for number, (family, address) in enumerate(addresses):
        share_s = deadline.left_s / (len(addresses) - number)
        limit_s = share_s if timeout_s is None else min(share_s, timeout_s)
        if limit_s <= 0:
            break
        end = socket.socket(family, socket.SOCK_STREAM)
        try:
            end.settimeout(limit_s)
            end.connect(address)
            # A request is one small packet, and waits for nobody.
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except TimeoutError:
            end.close()
            failures.append(f"{address[0]} did not answer within {limit_s:.3g} s")
        except OSError as error:
            end.close()
            failures.append(f"{address[0]}: {error.strerror or error}")
        else:
            return end
    text = f"{server}: no connection to port {port}: {'; '.join(failures)}."
    raise DeadlineError(text) if deadline.passed else UnreachableError(text)


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
            lookup = _running[(host, port)] = _Lookup(host, port)
            threading.Thread(target=lookup.run, name=f"look up {host}", daemon=True).start()
    if not lookup.done.wait(deadline.left_s):
        raise DeadlineError(f"{server}: the name {host!r} was not resolved within {deadline.seconds:g} s.")
    if lookup.error is not None:
        raise UnreachableError(f"{server}: the name {host!r} has no address: {lookup.error.strerror}.")
    return lookup.answer


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
