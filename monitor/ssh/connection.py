"""From settings to a running command: all hops, under one deadline."""

import time
from typing import TYPE_CHECKING

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh.addresses import connect
from pylon.monitor.ssh.deadline import Deadline
from pylon.monitor.ssh.errors import ConnectionClosedError, DeadlineError, SSHError
from pylon.monitor.ssh.far_channel import FarChannel
from pylon.monitor.ssh.proxy_command import ProxyCommand
from pylon.monitor.ssh.settings import HostKeyPolicy, SSHSettings
from pylon.monitor.ssh.wire import SocketWire, Wire

if TYPE_CHECKING:
    from pylon.monitor.ssh.session import Session

_CLOSE_S = 0.4


def open_channel(
    settings: SSHSettings,
    command: bytes,
    *,
    policy: HostKeyPolicy = HostKeyPolicy.STRICT,
    deadline_s: float = 15.0,
    keepalive_s: float = 30.0,
) -> FarChannel:
    """Connect, log in once at every hop, and run `command` at the last.

    Args:
        settings: see `resolve`.
        command: what the login shell gets to run.
        policy: see HostKeyPolicy; for every hop.
        deadline_s: for all of it: names, connections, keys, logins, the start of the command. Above 0.
        keepalive_s: seconds of silence after which a sign of life is sent. Above 0.

    Raises:
        SSHError: one of its kinds; nothing is left open then.
        MonitorSettingError: an argument is out of range.
    """
    for name, seconds in (("deadline_s", deadline_s), ("keepalive_s", keepalive_s)):
        if not 0 < seconds < float("inf"):
            raise MonitorSettingError(f"{name}: {seconds!r}, expected a number above 0.")
    way = _Way(Deadline(deadline_s), policy, keepalive_s)
    try:
        for hop in (*settings.hops, settings):
            way.go_on(hop)
        return way.finish(settings, command)
    except BaseException:
        way.close()
        raise


class _Way:
    """The hops so far, the first one first."""

    def __init__(self, deadline: Deadline, policy: HostKeyPolicy, keepalive_s: float) -> None:
        self._deadline = deadline
        self._policy = policy
        self._keepalive_s = keepalive_s
        self._sessions: list[Session] = []
        self._base: Wire | None = None
        self._proxy: ProxyCommand | None = None

    @property
    def wire(self) -> Wire:
        """To the last server."""
        return self._sessions[-1].wire

    @property
    def farewell(self) -> str:
        """Why the server hung up, in its words."""
        return self._sessions[-1].farewell

    def go_on(self, settings: SSHSettings) -> None:
        """One server further."""
        # Loading paramiko takes a tenth of a second and 20 MB, which only those pay who need it.
        from pylon.monitor.ssh.session import Session  # noqa: PLC0415

        wire = self._sessions[-1].through(settings) if self._sessions else self._first(settings)
        session = Session(settings, wire, self._deadline, self._keepalive_s)
        self._sessions.append(session)
        try:
            session.greet(self._policy)
            session.log_in()
        except (ConnectionClosedError, DeadlineError) as error:
            raise self._first_cause(error) from error

    def finish(self, settings: SSHSettings, command: bytes) -> FarChannel:
        """Run the command at the last server."""
        session = self._sessions[-1]
        channel = session.run(command)
        for one in self._sessions:
            one.wire.opened()
        return FarChannel(settings.name, session.host_key, channel, self)

    @property
    def fault(self) -> SSHError | None:
        """Why it ended by itself: the first hop that did."""
        faults = (session.wire.fault for session in self._sessions)
        return next((fault for fault in faults if fault is not None), None)

    def write_until(self, until_s: float | None) -> None:
        """See Wire.write_until_s; for all hops."""
        for session in self._sessions:
            session.wire.write_until_s = until_s

    def close(self) -> None:
        """Let go of all, within a second."""
        # From below: a thread that waits for a full socket there is freed, and no farewell can block.
        if self._base is not None:
            self._base.close()
        for session in self._sessions:
            session.close()
        until_s = time.monotonic() + _CLOSE_S
        for session in reversed(self._sessions):
            session.join(max(0.0, until_s - time.monotonic()))
        for session in self._sessions:
            session.wire.release()
        if self._base is not None:
            self._base.release()
        if self._proxy is not None:
            self._proxy.close()

    def _first(self, settings: SSHSettings) -> Wire:
        if settings.proxy_command is None:
            end = connect(
                settings.name,
                settings.host,
                settings.port,
                self._deadline,
                settings.connect_timeout_s,
                family=settings.address_family,
                bind_address=settings.bind_address,
            )
        else:
            self._proxy = ProxyCommand(settings.name, settings.proxy_command)
            end = self._proxy.end
        self._base = SocketWire(settings.name, end, self._deadline, self._proxy)
        return self._base

    def _first_cause(self, error: SSHError) -> SSHError:
        """What went wrong below, if something did: the server above then only seems to have hung up."""
        if self._proxy is not None and (failure := self._proxy.failure()) is not None:
            return failure
        return error if isinstance(error, DeadlineError) else self.fault or error
