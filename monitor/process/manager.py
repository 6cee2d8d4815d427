"""The Manager dict: whole reports by monitor name, written by workers, copied by the relay.

A call through a proxy has no time limit, so only processes that may be replaced make one: never
the supervisor, never the training process. Reports are pickled before they come here: the Manager
holds bytes and never imports what they are made of.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from multiprocessing.managers import BaseManager, DictProxy, RemoteError

from pylon.monitor.process.heartbeat import Heartbeat

_CONNECT_WITHIN_S = 5.0
_RETRY_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class ManagerAddress:
    """Where a Manager listens, and the key that lets in only this supervisor's processes.

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
    """Be the Manager: hold one dict and serve it until killed."""
    reports: dict[str, bytes] = {}

    class Serving(BaseManager):
        pass

    Serving.register("reports", callable=lambda: reports, proxytype=DictProxy)
    Serving(address.socket, address.key).get_server().serve_forever()


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
            yield self._proxy
        except (EOFError, OSError, RemoteError) as error:
            raise ManagerGoneError(f"the Manager is gone: {type(error).__name__}: {error}") from error
        self._heartbeat.answered_s = time.monotonic()
        self._heartbeat.waiting_since_s = 0.0


def _connect(address: ManagerAddress) -> MutableMapping[str, bytes]:
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
    proxy: MutableMapping[str, bytes] = manager.reports()  # type: ignore[attr-defined]
    return proxy
