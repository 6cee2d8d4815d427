"""One hop: the greeting, the server's key, our login, and what is opened there. The door to paramiko."""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import paramiko
from paramiko.common import MSG_DISCONNECT, MSG_KEXINIT

from pylon.monitor.ssh.agreement import WEAK, Agreement, refused_logins
from pylon.monitor.ssh.deadline import Deadline
from pylon.monitor.ssh.errors import (
    ChannelRefusedError,
    ConnectionClosedError,
    DeadlineError,
    LoginRefusedError,
    NoAlgorithmError,
    ProtocolError,
    SSHError,
    UnreachableError,
)
from pylon.monitor.ssh.host_keys import HostKeyCheck
from pylon.monitor.ssh.identities import identities
from pylon.monitor.ssh.known_hosts import HostKey
from pylon.monitor.ssh.public_keys import kind_of
from pylon.monitor.ssh.settings import HostKeyPolicy, SSHSettings
from pylon.monitor.ssh.texts import printable
from pylon.monitor.ssh.wire import ChannelWire, Wire

# Bounds what a slow reader makes us hold; a frame of a big server has some 50 KB.
_WINDOW_BYTES = 256 * 1024
_CONNECT_FAILED = 2
_COOKIE_BYTES = 16
_ALGORITHM_LISTS = 6
# paramiko's own limits end at the same time as the wire: whichever comes first, it was the deadline.
_SAME_MOMENT_S = 0.25

# paramiko logs each failure with a stack, which would go to standard error if no log was set up.
# The failure itself is in our error.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class _Packetizer(paramiko.Packetizer):  # type: ignore[misc]  # paramiko has no types
    """paramiko's, without its timer, which runs on after a failed greeting and keeps the process alive.

    Attributes:
        farewell: the reason that the server gave for hanging up.
        offered: the server's lists of algorithms: key exchanges, host keys, ciphers and MACs each way.
    """

    farewell = ""
    offered: tuple[list[str], ...] = ()

    def start_handshake(self, timeout: float) -> None:
        """Nothing: the wire has the deadline."""

    def handshake_timed_out(self) -> bool:
        """See `start_handshake`."""
        return False

    def complete_handshake(self) -> None:
        """See `start_handshake`."""

    def read_message(self) -> tuple[int, Any]:
        """The next message; a farewell and the server's algorithms are noted, which paramiko only logs."""
        kind, message = super().read_message()
        if kind == MSG_DISCONNECT:
            copy = paramiko.Message(message.asbytes())
            copy.get_int()
            self.farewell = printable(copy.get_string())
        elif kind == MSG_KEXINIT:
            copy = paramiko.Message(message.asbytes())
            copy.get_bytes(_COOKIE_BYTES)
            self.offered = tuple(_names(copy.get_string()) for _ in range(_ALGORITHM_LISTS))
        return kind, message


def _names(text: bytes) -> list[str]:
    return text.decode("utf-8", "replace").split(",")


class _BoundedEvent(threading.Event):
    """An event that a wait without end cannot wait for longer than the deadline.

    If a connection dies between two lines of paramiko's exec_command, nothing would ever set it.
    """

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def wait(self, timeout: float | None = None) -> bool:
        """See threading.Event; set at the deadline at the latest."""
        if not super().wait(self._deadline.left_s if timeout is None else timeout) and timeout is None:
            self.set()
        return self.is_set()


class Session:
    """A connection to one server over a wire, which it closes with itself.

    Args:
        settings: of the server.
        wire: leads there.
        deadline: for all until the channel is there.
        keepalive_s: seconds of silence before a sign of life.
    """

    def __init__(self, settings: SSHSettings, wire: Wire, deadline: Deadline, keepalive_s: float) -> None:
        self.wire = wire
        self._settings = settings
        self._deadline = deadline
        self._keepalive_s = keepalive_s
        self._transport = paramiko.Transport(
            wire,
            default_window_size=_WINDOW_BYTES,
            disabled_algorithms={
                **WEAK,
                "pubkeys": refused_logins(settings.algorithms.logins, paramiko.Transport._preferred_pubkeys),
            },
            packetizer_class=_Packetizer,
        )
        self._transport.name = f"ssh {settings.name}"
        self._agreement: Agreement | None = None
        self.host_key = ""

    @property
    def farewell(self) -> str:
        """Why the server hung up, in its words; "" if it gave no reason."""
        words: str = self._transport.packetizer.farewell
        return words

    def greet(self, policy: HostKeyPolicy) -> None:
        """Agree on keys, and check that the server is the one that is meant.

        Raises:
            SSHError: one of its kinds.
            MonitorSettingError: ssh_config leaves no algorithm that is supported here.
        """
        check = HostKeyCheck(self._settings, policy)
        self._agreement = Agreement(self._settings, self._transport.get_security_options())
        self._agreement.prefer_host_keys(check.wanted_algorithms())
        self._transport.banner_timeout = self._deadline.left_s
        self._transport.clear_to_send_timeout = self._deadline.left_s
        with self._named("the greeting"):
            self._transport.start_client(timeout=self._deadline.left_s)
            # At its time-out start_client returns as if all was well.
            blob: bytes = self._transport.get_remote_server_key().asbytes()
        key = HostKey(kind_of(blob) or "", blob)
        check.check(key)
        self.host_key = key.fingerprint

    def log_in(self) -> None:
        """Offer our keys until one is accepted.

        Raises:
            LoginRefusedError: none was, or there is none.
            SSHError: another of its kinds.
        """
        with ExitStack() as cleanup:
            ours = identities(self._settings, self._deadline, cleanup)
            for number, key in enumerate(ours.keys):
                if not self._transport.is_active():
                    break
                refusal = self._offer(key, number)
                if refusal is None:
                    self._transport.set_keepalive(self._keepalive_s)
                    return
                ours.notes += [refusal] if refusal else []
                if getattr(key, "failure", None):
                    ours.notes.append(str(key.failure))
        tried = f"none of {len(ours.keys)} keys is accepted" if ours.keys else "there is no key to offer"
        notes = "; ".join(dict.fromkeys(ours.notes))
        raise LoginRefusedError(
            f"{self._settings.name}: login as {self._settings.user}: {tried}{f': {notes}' if notes else ''}."
        )

    def through(self, settings: SSHSettings) -> ChannelWire:
        """A wire to the next server.

        Raises:
            SSHError: one of its kinds.
        """
        with self._named(f"the way through to {settings.host}:{settings.port}", onward=True):
            channel = self._transport.open_channel(
                "direct-tcpip",
                (settings.host, settings.port),
                ("127.0.0.1", 0),
                timeout=self._deadline.left_s,
            )
        return ChannelWire(settings.name, channel, self.wire, self._deadline)

    def run(self, command: bytes) -> Any:  # noqa: ANN401 - paramiko has no types
        """A channel to a running command.

        Raises:
            SSHError: one of its kinds.
        """
        with self._named("the start of the command"):
            channel = self._transport.open_session(timeout=self._deadline.left_s)
            channel.event = _BoundedEvent(self._deadline)
            try:
                channel.exec_command(command)
            except paramiko.SSHException as error:
                if self._transport.is_active() and not self._deadline.passed:
                    raise ChannelRefusedError(
                        f"{self._settings.name}: the server does not run the command."
                    ) from error
                raise
        self._transport.clear_to_send_timeout = 5.0
        return channel

    def close(self) -> None:
        """Have its thread end; returns at once. The wire below must have ended."""
        self.wire.close()
        self._transport.close()

    def join(self, timeout_s: float) -> None:
        """Wait for its thread to end."""
        if self._transport.ident is not None:
            self._transport.join(timeout_s)

    def _offer(self, key: Any, number: int) -> str | None:  # noqa: ANN401 - paramiko has no types
        """None: we are in. Otherwise why not, and "" if no more is known."""
        self._transport.auth_timeout = self._deadline.left_s
        with self._named("the login"):
            try:
                more = self._transport.auth_publickey(self._settings.user, key)
            except paramiko.BadAuthenticationType as error:
                return f"the server takes {printable(', '.join(error.allowed_types))} instead of keys"
            except paramiko.AuthenticationException:
                if self._deadline.passed or self.wire.fault is not None:
                    raise
                if self._transport.is_active():
                    return ""
                # It hangs up on those who were refused too often: not to be tried again.
                if number or self.farewell:
                    return f"then the server hung up: {self.farewell or 'without a word'}"
                raise
        if more:
            return f"the server wants {printable(' and '.join(more))} in addition to the key"
        return None

    @contextmanager
    def _named(self, doing: str, onward: bool = False) -> Iterator[None]:
        """Turn what paramiko raises into one of our errors."""
        try:
            yield
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._error(doing, error, onward) from error

    def _error(self, doing: str, error: Exception, onward: bool) -> SSHError:
        name = self._settings.name
        if self.wire.fault is not None:
            return type(self.wire.fault)(f"{self.wire.fault} It was at {doing}.")
        late = isinstance(error.__context__, TimeoutError)
        if late or self._deadline.left_s <= _SAME_MOMENT_S:
            return DeadlineError(f"{name}: {doing} took too long: {self._deadline.seconds:g} s for all.")
        if isinstance(error, paramiko.ChannelException):
            # sshd sends the same for a session beyond MaxSessions.
            kind = UnreachableError if onward and error.code == _CONNECT_FAILED else ChannelRefusedError
            return kind(f"{name}: {doing}: {printable(error.text)}.")
        ended = any(isinstance(one, EOFError | OSError) for one in (error, error.__context__))
        if ended or self.farewell or isinstance(error, paramiko.AuthenticationException):
            return ConnectionClosedError(f"{name}: the server hung up at {doing}{self._in_its_words()}.")
        missing = self._agreement.missing(self._transport.packetizer.offered) if self._agreement else ""
        if missing and isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
            return NoAlgorithmError(f"{name}: {doing}: {missing}.")
        return ProtocolError(f"{name}: {doing}: {printable(str(error))}.")

    def _in_its_words(self) -> str:
        return f": {self.farewell}" if self.farewell else ""
