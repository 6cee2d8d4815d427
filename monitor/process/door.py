"""How the processes of one supervisor connect to its Manager: over a pair of sockets without a name.

    client   socketpair() ── one end over the door ──> Manager   accept()

A socket with a name, on disk or in Linux's abstract namespace, can be found and connected to by other
users, and nothing of it may be left behind. The ends of a door exist only in the processes that have
inherited them, and vanish with the last of these.
"""

import os
import socket
import struct
from multiprocessing import connection, managers

SERIALIZER = "pickle over a door"
_CREDENTIALS = struct.Struct("3i")
_CONNECT = b"c"


class Door:
    """Two ends of one pair: clients ask at the outside, the Manager listens at the inside.

    Args:
        outside, inside: connected sockets that keep messages apart.
    """

    def __init__(self, outside: socket.socket, inside: socket.socket) -> None:
        self.outside = outside
        self.inside = inside

    @classmethod
    def new(cls) -> "Door":
        """A door that no process has yet."""
        return cls(*socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))

    @property
    def given_away(self) -> bool:
        """Whether this process has closed the inside."""
        return self.inside.fileno() < 0

    def close(self) -> None:
        """Close both ends in this process."""
        self.outside.close()
        self.inside.close()


class _Listener:
    """Accepts what comes through a door, as multiprocessing's own listeners do at an address."""

    def __init__(self, address: socket.socket, backlog: int) -> None:
        del backlog
        self.address = address

    def accept(self) -> "connection.Connection[object, object]":
        """Wait for a connection of this user's.

        Raises:
            EOFError: no process can ask for one any more, or this one may open no further descriptor. It ends
                the thread that accepts: the supervisor notices a Manager that accepts no connection.
        """
        while True:
            _, descriptors, _, _ = socket.recv_fds(self.address, len(_CONNECT), 1)
            if not descriptors:
                raise EOFError("no connection came through the door")
            with socket.socket(fileno=descriptors[0]) as asking:
                # Before anything is spent on it: multiprocessing starts a thread for what is returned.
                if _user_of(asking) == os.geteuid():
                    return connection.Connection(asking.detach())


def _user_of(asking: socket.socket) -> int:
    content = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(content)[1])


def _connect(address: socket.socket, authkey: bytes) -> "connection.Connection[object, object]":
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(address, [_CONNECT], [theirs.fileno()])
        made: connection.Connection[object, object] = connection.Connection(ours.detach())
    try:
        connection.answer_challenge(made, authkey)
        connection.deliver_challenge(made, authkey)
    except BaseException:
        made.close()
        raise
    return made


def use_doors() -> None:
    """Have the Manager of this process take one end of a door as its address, with SERIALIZER."""
    # multiprocessing has no other place for a transport; this process is the supervisor's own.
    managers.listener_client[SERIALIZER] = (_Listener, _connect)  # type: ignore[attr-defined]
