"""What the caller talks through: a command at a server."""

import threading
import time
from typing import Any, Protocol

from pylon.monitor.ssh.errors import ConnectionClosedError, DeadlineError, SSHError
from pylon.monitor.ssh.texts import printable
from pylon.monitor.ssh.wire import Wire

_CHUNK_BYTES = 65536
_KEPT_BYTES = 4096
_STATUS_WITHIN_S = 0.5
# A command that ends after so little output is not the one that was asked for: what it printed is the reason.
_MOST_WORDS_BYTES = 400


class Connection(Protocol):
    """All hops of a channel, as far as it needs them."""

    @property
    def wire(self) -> Wire:
        """To the server."""

    @property
    def fault(self) -> SSHError | None:
        """Why it ended by itself, at whatever hop; None: it did not."""

    @property
    def farewell(self) -> str:
        """Why the server hung up, in its words."""

    def write_until(self, until_s: float | None) -> None:
        """See Wire.write_until_s; for all hops."""

    def close(self) -> None:
        """Let go of all."""


class FarChannel:
    """A command that runs at a server: its input and its output.

    One thread may use it while another closes it. After any error it is closed.

    Args:
        server: its name as the user wrote it.
        host_key: fingerprint of the server's key, "SHA256:...": one server under two names shows it twice.
        channel: paramiko's.
        connection: what is below.
    """

    # Any: paramiko has no types.
    def __init__(self, server: str, host_key: str, channel: Any, connection: Connection) -> None:  # noqa: ANN401
        self.server = server
        self.host_key = host_key
        self._channel = channel
        self._connection = connection
        self._errors = b""
        self._printed = b""
        self._closing = threading.Lock()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or an error did so."""
        return self._closed

    @property
    def last_words(self) -> str:
        """The newest of what the command wrote to its standard error, on one line, bounded."""
        return printable(self._errors)

    @property
    def bytes_received(self) -> int:
        """What came in from the server itself, encrypted."""
        return self._connection.wire.received

    @property
    def bytes_sent(self) -> int:
        """What went out to the server itself, encrypted."""
        return self._connection.wire.sent

    def send(self, data: bytes, timeout_s: float) -> None:
        """Send all of `data` within `timeout_s`.

        Raises:
            DeadlineError: it could not be sent in that time.
            ConnectionClosedError: the connection is gone.
        """
        until_s = time.monotonic() + timeout_s
        # The wires bound the sockets, the channel the server's window: any can be full.
        self._connection.write_until(until_s)
        try:
            while data:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                self._channel.settimeout(left_s)
                count = self._channel.send(data)
                if count == 0 or self._closed or self._connection.fault is not None:
                    raise EOFError
                data = data[count:]
        except TimeoutError:
            self.close()
            raise DeadlineError(
                f"{self.server}: it took no more than {timeout_s:g} s to send to it."
            ) from None
        # paramiko's SSHException too, without importing it here.
        except Exception as error:
            raise self._ended() from error
        finally:
            self._connection.write_until(None)

    def receive(self, timeout_s: float) -> bytes:
        """What has arrived, waiting up to `timeout_s` for the first byte; b"" if nothing came.

        Raises:
            ConnectionClosedError: the connection is gone or the command ended.
            DeadlineError, ProtocolError: the connection was given up, for the reason in the text.
        """
        self._drain()
        self._channel.settimeout(max(0.0, timeout_s))
        try:
            data: bytes = self._channel.recv(_CHUNK_BYTES)
        except TimeoutError:
            if self._closed or self._connection.fault is not None:
                raise self._ended() from None
            data = b""
        except Exception as error:
            raise self._ended() from error
        else:
            if not data:
                self._drain()
                raise self._ended()
        self._drain()
        self._note_output(data)
        self._connection.wire.relax()
        return data

    def close(self) -> None:
        """Let go of the connection within 1 s; from any thread, any number of times."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._connection.close()

    def _drain(self) -> None:
        """Take the command's standard error, so that it never waits for us."""
        while self._channel.recv_stderr_ready():
            self._errors = (self._errors + self._channel.recv_stderr(_CHUNK_BYTES))[-_KEPT_BYTES:]

    def _note_output(self, data: bytes) -> None:
        if len(self._printed) <= _MOST_WORDS_BYTES:
            self._printed += data[: _MOST_WORDS_BYTES + 1]

    def _ended(self) -> SSHError:
        """Why nothing comes any more; closes the rest."""
        by_us = self._closed
        if not by_us and self._connection.fault is None:
            # A server sends the status after the end of the output. A lost connection sets the event, too.
            self._channel.status_event.wait(_STATUS_WITHIN_S)
            self._drain()
            if self._channel.recv_ready():
                # It ended before anything was read, when it was written to.
                self._note_output(self._channel.recv(_CHUNK_BYTES))
        self.close()
        fault = self._connection.fault
        if fault is not None:
            return fault
        if by_us:
            return ConnectionClosedError(f"{self.server}: the connection was closed here.")
        parts = ["the command or the connection ended"]
        if self._channel.exit_status_ready() and self._channel.exit_status >= 0:
            parts = [f"the command ended with status {self._channel.exit_status}"]
        printed = printable(self._printed) if len(self._printed) <= _MOST_WORDS_BYTES else ""
        parts += [words for words in (self._connection.farewell, self.last_words, printed) if words]
        return ConnectionClosedError(f"{self.server}: {': '.join(parts).rstrip('.')}.")
