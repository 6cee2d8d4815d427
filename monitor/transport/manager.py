"""The Manager dict: whole reports by monitor name, written by workers, copied by the relay.

A call through a proxy has no time limit, so only processes that may be replaced make one: never
the supervisor, never the training process.
"""

import os
import secrets
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from multiprocessing.managers import BaseManager, DictProxy
from typing import Any

_CONNECT_WITHIN_S = 5.0
_RETRY_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class ManagerAddress:
    """Where a Manager listens, and the key that lets in nobody but this host's processes.

    Attributes:
        socket: a name in Linux's abstract namespace: nothing is left on disk, however it ends.
        key: for multiprocessing's mutual authentication.
    """

    socket: str
    key: bytes

    @classmethod
    def new(cls) -> "ManagerAddress":
        """An address that no other Manager has."""
        return cls(f"\0pylon-monitor-{os.getpid()}-{secrets.token_hex(8)}", secrets.token_bytes(32))


def serve_reports(address: ManagerAddress) -> None:
    """Be the Manager: hold one dict and serve it for ever."""
    reports: dict[str, Any] = {}

    class Serving(BaseManager):
        pass

    Serving.register("reports", callable=lambda: reports, proxytype=DictProxy)
    Serving(address.socket, address.key).get_server().serve_forever()


def connect_reports(address: ManagerAddress) -> MutableMapping[str, Any]:
    """The Manager's dict, for a process that may wait for it.

    Raises:
        OSError, EOFError: there is no Manager, or it has died.
    """

    class Connecting(BaseManager):
        pass

    Connecting.register("reports", proxytype=DictProxy)
    manager = Connecting(address.socket, address.key)
    give_up_s = time.monotonic() + _CONNECT_WITHIN_S
    while True:
        try:
            manager.connect()
            break
        except ConnectionRefusedError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(_RETRY_EVERY_S)
    proxy: MutableMapping[str, Any] = manager.reports()  # type: ignore[attr-defined]
    return proxy
