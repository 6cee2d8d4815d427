"""The socket under an SSH connection, with limits that paramiko does not have.

paramiko waits in many places, some without end: for a banner that drips, for the answer to a request,
for a full socket to take more. All of them end when its socket does. So the one deadline, the
patience with a full socket and the bound on what a flooding server can make us hold are here.
"""

import select
import socket
import time
from abc import ABC, abstractmethod
from typing import Any, Protocol

from pylon.monitor.ssh.deadline import Deadline
from pylon.monitor.ssh.errors import DeadlineError, ProtocolError, SSHError

# paramiko asks for a wake-up ten times a second to look whether it was closed. `close` wakes it, so
# it sleeps longer here: with 1,000 servers, that was most of what an idle connection costs.
IDLE_S = 5.0
# What a hop's channel waits at once, reading and writing alike: paramiko has one value for both.
_CHANNEL_WAIT_S = 0.25
_LOOK_AGAIN_S = 0.1
_CHUNK_BYTES = 32768
# Greeting, keys and login take some 10 KB; what is below the channel's window never exceeds the second.
_GREETING_LIMIT_BYTES = 512 * 1024
_UNREAD_LIMIT_BYTES = 4 * 2**20
_WRITE_PATIENCE_S = 5.0


class Wire(ABC):
    """What paramiko's Transport takes for a socket.

    Once ended it gives end of file to the reader and the writer alike, and `fault` is the reason.

    Attributes:
        fault: why it ended by itself; None: it did not.
        received, sent: bytes.
        write_until_s: until when, by the monotonic clock, a write may take; None: 5 s each.
    """

    def __init__(self, server: str, deadline: Deadline) -> None:
        self.fault: SSHError | None = None
        self.received = 0
        self.sent = 0
        self.write_until_s: float | None = None
        self._server = server
        self._deadline: Deadline | None = deadline
        self._ahead = b""
        self._unread = 0
        self._limit = _GREETING_LIMIT_BYTES
        self._ended = False

    @property
    def _closed(self) -> bool:
        # paramiko looks for this name, which a socket has.
        return self._ended

    def settimeout(self, timeout_s: float) -> None:  # noqa: B027 - paramiko calls it
        """Nothing: see IDLE_S."""

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end. A TimeoutError after a while lets paramiko look around."""
        if not self._ahead:
            data = self._read()
            self.received += len(data)
            self._unread += len(data)
            if self._unread > self._limit:
                self.end(ProtocolError(f"{self._server}: sent {self._unread} bytes without a request."))
                raise EOFError
            self._ahead = data
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def send(self, data: bytes) -> int:
        """Send some of `data`."""
        began_s = time.monotonic()
        while True:
            until_s = self.write_until_s or began_s + _WRITE_PATIENCE_S
            if self._ended or self._deadline_passed():
                raise EOFError
            count = self._write(data)
            if count:
                self.sent += count
                return count
            if time.monotonic() >= until_s:
                # Half a packet may be out: nothing can follow it.
                self.end(DeadlineError(f"{self._server}: it takes no more of what is sent to it."))
                raise EOFError

    def opened(self) -> None:
        """From here on there is no deadline, and more may come at once."""
        self._deadline = None
        self._limit = _UNREAD_LIMIT_BYTES
        self.relax()

    def relax(self) -> None:
        """What came so far has been taken: see the bound on what has not."""
        self._unread = 0

    def end(self, fault: SSHError) -> None:
        """Close it for a reason; the first one stays."""
        self.fault = self.fault or fault
        self.close()

    def close(self) -> None:
        """End it for reader and writer, from any thread; returns at once."""
        self._ended = True
        self._shut()

    @abstractmethod
    def release(self) -> None:
        """Give its resources back, when no thread is in it any more."""

    @abstractmethod
    def _read(self) -> bytes: ...

    @abstractmethod
    def _write(self, data: bytes) -> int:
        """Send some of `data`, or wait a little and answer 0."""

    @abstractmethod
    def _shut(self) -> None: ...

    def _deadline_passed(self) -> bool:
        deadline = self._deadline
        if deadline is None or not deadline.passed:
            return False
        self.end(DeadlineError(f"{self._server}: not there after {deadline.seconds:g} s."))
        return True

    def _wait_s(self, longest_s: float) -> float:
        deadline = self._deadline
        return longest_s if deadline is None else min(longest_s, deadline.left_s)


class Aside(Protocol):
    """What is to be read next to a socket, by the thread that waits for it: see ProxyCommand."""

    def fileno(self) -> int:
        """Where."""

    def tidy(self) -> bool:
        """Read it; False at its end."""


class SocketWire(Wire):
    """A socket: of TCP, or of a ProxyCommand.

    Args:
        server: its name, for errors.
        end: the socket, which is closed by `release`.
        deadline: see `opened`.
        aside: what is to be read next to it.
    """

    def __init__(
        self, server: str, end: socket.socket, deadline: Deadline, aside: Aside | None = None
    ) -> None:
        super().__init__(server, deadline)
        end.setblocking(False)
        self._socket = end
        self._aside = aside

    def release(self) -> None:
        """Close the socket itself."""
        self._socket.close()

    def _read(self) -> bytes:
        idle_until_s = time.monotonic() + IDLE_S
        while not self._ended and not self._deadline_passed():
            try:
                return self._socket.recv(_CHUNK_BYTES)
            except BlockingIOError:
                left_s = self._wait_s(idle_until_s - time.monotonic())
            if left_s <= 0 and not self._deadline_passed():
                raise TimeoutError
            self._poll(select.POLLIN, left_s)
        raise EOFError

    def _write(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            self._poll(select.POLLOUT, self._wait_s(_LOOK_AGAIN_S))
            return 0

    def _shut(self) -> None:
        # Wakes both sides. The number of the socket stays taken until no thread waits on it.
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _poll(self, event: int, seconds: float) -> None:
        number = self._socket.fileno()
        if number < 0:
            raise EOFError
        poll = select.poll()
        poll.register(number, event)
        aside = self._aside if event == select.POLLIN else None
        if aside is not None:
            poll.register(aside.fileno(), select.POLLIN)
        ready = poll.poll(max(1, round(seconds * 1000)))
        if aside is not None and any(one != number for one, _ in ready) and not aside.tidy():
            self._aside = None


class ChannelWire(Wire):
    """A channel through a hop that leads to the next one.

    Args:
        channel: paramiko's.
        under: the hop's own wire. It has the deadline: when it ends, all above it do.
    """

    # Any: paramiko has no types.
    def __init__(self, server: str, channel: Any, under: Wire, deadline: Deadline) -> None:  # noqa: ANN401
        super().__init__(server, deadline)
        channel.settimeout(_CHANNEL_WAIT_S)
        self._channel = channel
        self._under = under

    def relax(self) -> None:
        """Taken here is taken below too."""
        super().relax()
        self._under.relax()

    def release(self) -> None:
        """Nothing: it ends with the hop."""

    def _read(self) -> bytes:
        idle_until_s = time.monotonic() + IDLE_S
        while not self._ended and not self._deadline_passed():
            try:
                data: bytes = self._channel.recv(_CHUNK_BYTES)
            except TimeoutError:
                if time.monotonic() >= idle_until_s:
                    raise
                continue
            self._under.relax()
            return data
        raise EOFError

    def _write(self, data: bytes) -> int:
        try:
            count: int = self._channel.send(data)
        except TimeoutError:
            return 0
        if count == 0:
            # This is how paramiko reports the end of a channel.
            raise EOFError
        return count

    def _shut(self) -> None:
        # Not `channel.close()`: that sends a farewell, for which a full socket below makes it wait.
        # Readers look at `_ended`, and the hop ends with this connection.
        return
