"""The Manager dict: whole reports by monitor name, written by workers, copied by the relay.

A call through a proxy has no time limit, so only processes that may be replaced make one: never
the supervisor, never the training process. Reports are pickled before they come here: the Manager
holds bytes and never imports what they are made of.
"""

import secrets
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from multiprocessing.managers import BaseManager, DictProxy, RemoteError
from typing import TypeVar

from pylon.monitor.process.door import SERIALIZER, Door, use_doors
from pylon.monitor.process.heartbeat import Heartbeat

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ManagerAddress:
    """How a Manager is reached, and the key that lets in only this supervisor's processes.

    Attributes:
        door: inherited by the Manager and by all that connect to it; nothing is on disk, however they end.
        key: for multiprocessing's mutual authentication.
    """

    door: Door
    key: bytes

    @classmethod
    def new(cls) -> "ManagerAddress":
        """An address that no other Manager has."""
        return cls(Door.new(), secrets.token_bytes(32))


def serve_reports(address: ManagerAddress) -> None:
    """Be the Manager: hold one dict and serve it until killed."""
    reports: dict[str, bytes] = {}
    address.door.outside.close()
    use_doors()

    class Serving(BaseManager):
        pass

    Serving.register("reports", callable=lambda: reports, proxytype=DictProxy)
    manager = Serving(address.door.inside, address.key, SERIALIZER)  # type: ignore[arg-type]  # see use_doors
    manager.get_server().serve_forever()


class ManagerGoneError(Exception):
    """The Manager has ended, and with it all that was in it: a new one starts empty elsewhere."""


class ManagerReports:
    """The Manager dict for a process that may wait for it; connects at the first call.

    Args:
        address: where the Manager listens.
        heartbeat: shows the supervisor since when this process waits, and when it was answered.

    Every method raises ManagerGoneError when the Manager is gone, and then for good.
    """

    def __init__(self, address: ManagerAddress, heartbeat: Heartbeat) -> None:
        self._address = address
        self._heartbeat = heartbeat
        self._proxy: MutableMapping[str, bytes] | None = None

    def put(self, name: str, report: bytes) -> None:
        """Replace the report of monitor `name`."""
        self._waiting(lambda reports: reports.__setitem__(name, report))

    def copy(self) -> dict[str, bytes]:
        """All reports."""
        copied: dict[str, bytes] = self._waiting(lambda reports: reports.copy())  # type: ignore[attr-defined]  # a DictProxy
        return copied

    def _waiting(self, call: Callable[[MutableMapping[str, bytes]], T]) -> T:
        self._heartbeat.waiting_since_s = time.monotonic()
        try:
            if self._proxy is None:
                self._proxy = _connect(self._address)
                self._heartbeat.connected_s = time.monotonic()
            result = call(self._proxy)
        except (EOFError, OSError, RemoteError) as error:
            # Its traceback leads to what multiprocessing was about to send. From Python 3.13 on, that is
            # reported on standard error ("Exception ignored in: <_io.BytesIO ...>") when it is collected.
            cause = error.with_traceback(None)
            raise ManagerGoneError(f"the Manager is gone: {type(error).__name__}: {error}") from cause
        self._heartbeat.answered_s = time.monotonic()
        self._heartbeat.waiting_since_s = 0.0
        return result


def _connect(address: ManagerAddress) -> MutableMapping[str, bytes]:
    class Connecting(BaseManager):
        pass

    Connecting.register("reports", proxytype=DictProxy)
    use_doors()
    manager = Connecting(address.door.outside, address.key, SERIALIZER)  # type: ignore[arg-type]  # see use_doors
    manager.connect()
    proxy: MutableMapping[str, bytes] = manager.reports()  # type: ignore[attr-defined]
    return proxy
