"""The Manager dict: whole reports by monitor name, written by workers, copied by the relay.

A call through a proxy has no time limit, so only processes that may be replaced make one: never
the supervisor, never the training process. Reports are pickled before they come here: the Manager
holds bytes and never imports what they are made of.
"""

import contextlib
import secrets
import time
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from multiprocessing.managers import BaseManager, DictProxy, RemoteError

from pylon.monitor.process.door import SERIALIZER, Door, use_doors
from pylon.monitor.process.heartbeat import Heartbeat


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
        with self._waiting() as reports:
            reports[name] = report

    def copy(self) -> dict[str, bytes]:
        """All reports."""
        with self._waiting() as reports:
            copied: dict[str, bytes] = reports.copy()  # type: ignore[attr-defined]  # a DictProxy
        return copied

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[MutableMapping[str, bytes]]:
        self._heartbeat.waiting_since_s = time.monotonic()
        try:
            if self._proxy is None:
                self._proxy = _connect(self._address)
                self._heartbeat.connected_s = time.monotonic()
            yield self._proxy
        except (EOFError, OSError, RemoteError) as error:
            raise ManagerGoneError(f"the Manager is gone: {type(error).__name__}: {error}") from error
        self._heartbeat.answered_s = time.monotonic()
        self._heartbeat.waiting_since_s = 0.0


def _connect(address: ManagerAddress) -> MutableMapping[str, bytes]:
    class Connecting(BaseManager):
        pass

    Connecting.register("reports", proxytype=DictProxy)
    use_doors()
    manager = Connecting(address.door.outside, address.key, SERIALIZER)  # type: ignore[arg-type]  # see use_doors
    manager.connect()
    proxy: MutableMapping[str, bytes] = manager.reports()  # type: ignore[attr-defined]
    return proxy
