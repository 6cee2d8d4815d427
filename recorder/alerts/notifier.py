"""Messages that leave the machine, from a thread of their own: nothing waits for it.

send ──> a queue for each address ──> its thread: merge, try, try again ──> webhook or apprise
"""

import importlib
import importlib.util
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pylon.recorder.alerts.webhook import DeliveryError, NotifyError, Webhook, shown

logger = logging.getLogger(__name__)

_MOST_WAITING = 100
# So long the first message waits for others that belong to it.
_MERGE_S = 2.0
_RETRY_S = (1.0, 4.0, 16.0, 60.0)
_MOST_CHARACTERS = 4000


class _Destination(Protocol):
    shown: str

    def send(self, title: str, text: str, facts: Mapping[str, Any]) -> None: ...


class _Apprise:
    """Any service that the package apprise knows, by its address."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.shown = shown(url)
        if importlib.util.find_spec("apprise") is None:
            raise NotifyError(
                f"notify: {self.shown} needs the package 'apprise', which is not installed. "
                "Install Pylon with its extra 'notify': pip install 'pylon-runner[notify]'"
            )

    def send(self, title: str, text: str, facts: Mapping[str, Any]) -> None:  # noqa: ARG002 - as the webhook
        apprise = importlib.import_module("apprise").Apprise()
        # Its own messages may hold the address.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        if not apprise.add(self._url):
            raise DeliveryError("apprise does not know this address", again=False)
        if not apprise.notify(title=title, body=text):
            raise DeliveryError("apprise could not send it", again=True)


def destination(url: str) -> _Destination:
    """Where an address leads: http and https are webhooks, all else is apprise's.

    Raises:
        NotifyError: it cannot be used.
    """
    scheme = url.partition(":")[0].lower()
    if "://" not in url:
        raise NotifyError(
            f"notify: expected an address such as https://HOST/PATH, found {len(url)} characters"
        )
    return Webhook(url) if scheme in {"http", "https"} else _Apprise(url)


class Notifier:
    """Sends messages to each address in a thread of its own; a call never waits.

    Args:
        urls: where to.
        title: of each message: the run and its machine.
        facts: added to the JSON of a webhook.
        retry_s: how long to wait before each further attempt.
        merge_s: how long a message waits for others.

    Raises:
        NotifyError: an address cannot be used.
    """

    def __init__(
        self,
        urls: Sequence[str],
        title: str,
        facts: Mapping[str, Any] | None = None,
        *,
        retry_s: Sequence[float] = _RETRY_S,
        merge_s: float = _MERGE_S,
    ) -> None:
        settings = (title, dict(facts or {}), tuple(retry_s), merge_s)
        self._lines = [_Line(one, *settings) for one in [destination(url) for url in urls]]

    def send(self, text: str) -> None:
        """Add a message; the oldest goes if too many wait."""
        for line in self._lines:
            line.send(text)

    def close(self, within_s: float = 1.5) -> bool:
        """Send what waits, for a bounded time; whether all was tried."""
        until_s = time.monotonic() + within_s
        for line in self._lines:
            line.ask_to_close()
        return all(line.await_idle(until_s - time.monotonic()) for line in self._lines)


class _Line:
    """One address, its queue and its thread: one that is slow holds up no other."""

    def __init__(
        self,
        destination: _Destination,
        title: str,
        facts: Mapping[str, Any],
        retry_s: Sequence[float],
        merge_s: float,
    ) -> None:
        self._destination = destination
        self._title = title
        self._facts = facts
        self._retry_s = retry_s
        self._merge_s = merge_s
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._closing = False
        self._idle = True
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        self._thread.start()

    def send(self, text: str) -> None:
        with self._changed:
            if len(self._waiting) >= _MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(text)
            self._idle = False
            self._changed.notify_all()

    def ask_to_close(self) -> None:
        """Send what waits without a delay, and nothing after that."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def await_idle(self, within_s: float) -> bool:
        """Whether all was tried."""
        with self._changed:
            return self._changed.wait_for(lambda: self._idle, within_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    self._idle = True
                    self._changed.notify_all()
                    return
                self._changed.wait_for(lambda: self._closing, self._merge_s)
                texts, dropped = list(self._waiting), self._dropped
                self._waiting.clear()
                self._dropped = 0
            self._deliver(texts, dropped)
            with self._changed:
                self._idle = not self._waiting
                self._changed.notify_all()

    def _deliver(self, texts: list[str], dropped: int) -> None:
        text = "\n".join(texts)[:_MOST_CHARACTERS]
        if dropped:
            text += f"\n({dropped} older messages were dropped)"
        facts = {**self._facts, "messages": texts, "sent_at": time.time()}
        self._try(self._destination, text, facts)

    def _try(self, one: _Destination, text: str, facts: Mapping[str, Any]) -> None:
        for wait_s in (*self._retry_s, None):
            try:
                one.send(self._title, text, facts)
                return
            except DeliveryError as error:
                problem, again = str(error), error.again
            except Exception as error:  # noqa: BLE001 - apprise calls the code of a hundred services
                problem, again = type(error).__name__, False
            if wait_s is None or not again:
                logger.warning("notify: %s did not take a message: %s", one.shown, problem)
                return
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, wait_s):
                    again = False
            if not again:
                logger.warning("notify: %s did not take a message: %s", one.shown, problem)
                return
