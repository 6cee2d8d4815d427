"""One server's connection: made in a thread of its own, and made again when it has gone."""

import random
import threading
import time
from typing import Protocol

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.process.backoff import pause_s
from pylon.monitor.remote.connect_limiter import ConnectLimiter
from pylon.monitor.remote.errors import ClosedHereError, ConnectingError

# A connection that held so long was a good one: the next failure counts as the first.
_HEALTHY_AFTER_S = 60.0
_LOOK_FOR_CHANGES_EVERY_S = 2.0


class Link(Protocol):
    """The part of transport.ssh.FarChannel that a reading uses."""

    @property
    def host_key(self) -> str:
        """Fingerprint of the server's key."""

    @property
    def last_words(self) -> str:
        """The newest of what the far shell wrote to its standard error."""

    def send(self, data: bytes, timeout_s: float) -> None:
        """Send all of `data`."""

    def receive(self, timeout_s: float) -> bytes:
        """What has arrived; b"" where nothing came in time."""

    def close(self) -> None:
        """Let go of it."""


class Dials(Protocol):
    """What makes connections to one server."""

    def dial(self) -> Link:
        """A connection; bounded in time."""

    def user_has_acted(self, error: Exception) -> bool:
        """Whether the user has done something since the last try that may fix its permanent `error`."""


class KeptConnection:
    """Keeps one server connected.

    A thread runs while there is no connection and ends when there is one. It pauses between tries
    by backoff with jitter. After a permanent error it does not try again until the user has acted:
    more refused logins could lock the account.

    Args:
        server: its name, for the thread list.
        dialer: makes a connection.
        gate: see ConnectLimiter.
    """

    def __init__(self, server: str, dialer: Dials, gate: ConnectLimiter) -> None:
        self._server = server
        self._dialer = dialer
        self._gate = gate
        self._random = random.Random()
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._link: Link | None = None
        self._linked_s = 0.0
        self._error: Exception | None = None
        self._failures = 0
        self._trying_since_s: float | None = None

    def start(self) -> None:
        """Begin to connect; returns at once."""
        with self._changed:
            self._begin(0.0)

    def link(self, until_s: float) -> Link:
        """The connection; waits for the first try up to `until_s`, and for no later one.

        Raises:
            ConnectingError: it is not there yet.
            ClosedHereError: `close` was called.
            Exception: what the newest try failed with, or what the last connection ended with.
        """
        with self._changed:
            while self._link is None:
                if self._closed.is_set():
                    raise ClosedHereError(f"{self._server}: the monitor is ending")
                if self._error is not None:
                    # Without the traceback, which would grow each time it is raised.
                    raise self._error.with_traceback(None)
                now = time.monotonic()
                if now >= until_s:
                    since_s = now - (self._trying_since_s or now)
                    raise ConnectingError(f"{self._server}: connecting for {since_s:.0f} s")
                self._changed.wait(until_s - now)
            return self._link

    def drop(self, link: Link, error: Exception) -> None:
        """Close `link` because of `error`, and connect again after a pause."""
        link.close()
        with self._changed:
            if link is not self._link:
                return
            self._link = None
            self._error = error
            held = time.monotonic() - self._linked_s > _HEALTHY_AFTER_S
            self._failures = 1 if held else self._failures + 1
            self._begin(pause_s(self._failures, self._random))

    def close(self) -> None:
        """Close the connection and make no other."""
        self._closed.set()
        with self._changed:
            link, self._link = self._link, None
            self._changed.notify_all()
        if link is not None:
            link.close()

    def _begin(self, first_pause_s: float) -> None:
        self._trying_since_s = time.monotonic()
        threading.Thread(
            target=self._connect, args=(first_pause_s,), name=f"connect {self._server}", daemon=True
        ).start()

    def _connect(self, first_pause_s: float) -> None:
        wait_s = first_pause_s
        while not self._closed.wait(wait_s):
            try:
                with self._gate.passage(self._closed, again=self._failures > 0) as may:
                    if not may:
                        return
                    link = self._dialer.dial()
            except Exception as error:  # noqa: BLE001 - whatever it is, each reading reports it
                wait_s = self._note_failure(error)
                if getattr(error, "permanent", False) or isinstance(error, MonitorSettingError):
                    self._wait_for_user(error)
                continue
            self._note_link(link)
            return

    def _note_failure(self, error: Exception) -> float:
        with self._changed:
            self._error = error
            self._failures += 1
            self._changed.notify_all()
            return pause_s(self._failures, self._random)

    def _note_link(self, link: Link) -> None:
        with self._changed:
            if not self._closed.is_set():
                self._link, self._linked_s = link, time.monotonic()
                self._error = None
                self._trying_since_s = None
                self._changed.notify_all()
                return
        link.close()

    def _wait_for_user(self, error: Exception) -> None:
        while not self._closed.wait(_LOOK_FOR_CHANGES_EVERY_S):
            if self._dialer.user_has_acted(error):
                return
