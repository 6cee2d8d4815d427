"""The monitor of other machines, over SSH, with nothing installed there."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pylon.monitor.base import BaseMonitor
from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.limits import ResourceLimits
from pylon.monitor.process.messages import MonitorSpec
from pylon.monitor.settings import ReadingSettings, require_boolean
from pylon.monitor.ssh import HostKeyPolicy, ServerName, own_account
from pylon.monitor.status.remote import RemoteStatus

if TYPE_CHECKING:
    from pylon.monitor.remote.connection import KeptConnection
    from pylon.monitor.remote.server import RemoteServer

# A reading and the report of it stay within its own time limit: beyond this the process itself hangs.
_PROCESS_GRACE_S = 5.0
_CONNECTS_AT_ONCE = 24
_RECONNECTS_AT_ONCE = 8
_CONNECT_SPACING_S = 0.1
_HEARTBEAT_LOOK_S = 5.0
# Two or three threads per server: with the usual 8 MiB each, the address space of their stacks would
# count against the memory limit of the process.
_STACK_BYTES = 512 * 1024


class RemoteMonitor(BaseMonitor[RemoteStatus]):
    """Watches other machines, one SSH connection and one long-lived shell each.

    A server that hangs, floods or dies costs its own readings and no others: a reading is over
    within `timeout_s` in any case, and connections are made in threads of their own.

    Args:
        servers: names as `ssh` takes them, `[user@]host[:port]`; or such by a name of your choice.
        name: what reports and health go by.
        window_size: readings that statistics go over, at least 1.
        slow_interval_s: seconds between readings of what costs more or changes rarely, above 0.
        gpu: run nvidia-smi there too.
        all_commands: give the command lines of other users' GPU processes too.
        ssh_config: see SystemMonitor.
        host_keys: 'strict': a server whose key is not known is refused; 'accept-new': it is noted. A
            changed key is refused in any case.
        interval_s, timeout_s, join_timeout_s, limits: see BaseMonitor.

    Raises:
        MonitorSettingError: an argument is out of range, a server's name is none, or this user has no entry
            in the user database.
    """

    def __init__(
        self,
        servers: Sequence[str] | Mapping[str, str],
        *,
        name: str = "RemoteMonitor",
        window_size: int = 10,
        slow_interval_s: float = 10.0,
        gpu: bool = True,
        ssh_config: Path | str | None = None,
        host_keys: str = HostKeyPolicy.STRICT.value,
        all_commands: bool = False,
        interval_s: float = 1.0,
        timeout_s: float = 5.0,
        join_timeout_s: float = 2.0,
        limits: ResourceLimits | None = None,
    ) -> None:
        super().__init__(
            interval_s=interval_s, timeout_s=timeout_s, join_timeout_s=join_timeout_s, limits=limits
        )
        self._reading = ReadingSettings(window_size, slow_interval_s)
        self._addresses = addresses(servers)
        # Without one, every connection would fail, each in a process of its own.
        own_account()
        self._name = name
        self._gpu = gpu
        self._all_commands = require_boolean("all_commands", all_commands)
        self._ssh_config = None if ssh_config is None else Path(ssh_config)
        self._policy = host_key_policy(host_keys)
        self._connections: dict[str, KeptConnection] = {}
        self._servers: dict[str, RemoteServer] = {}

    @property
    def name(self) -> str:
        """What reports and health go by."""
        return self._name

    def spec(self) -> MonitorSpec:
        """See BaseMonitor. The process is given longer than a reading: no server can have it replaced."""
        made = super().spec()
        return MonitorSpec(
            made.name,
            made.module,
            made.qualname,
            made.arguments,
            made.interval_s,
            2 * made.timeout_s + _PROCESS_GRACE_S,
        )

    def _get_servers_list(self) -> list[str]:
        return list(self._addresses)

    def _spread_s(self, server: str) -> float:
        place = list(self._addresses).index(server)
        return self.interval_s * place / len(self._addresses)

    def _init_status_structures(self) -> None:
        # Imported here: of no use in the training process.
        from pylon.monitor.remote.connect_limiter import ConnectLimiter  # noqa: PLC0415
        from pylon.monitor.remote.connection import KeptConnection  # noqa: PLC0415
        from pylon.monitor.remote.dialer import Dialer  # noqa: PLC0415
        from pylon.monitor.remote.far import RemoteStatuses  # noqa: PLC0415
        from pylon.monitor.remote.server import RemoteServer, Rhythm  # noqa: PLC0415
        from pylon.monitor.ssh import Resolver  # noqa: PLC0415

        self._ending = threading.Event()
        threading.stack_size(_STACK_BYTES)
        rhythm = Rhythm(self.interval_s, self.timeout_s, self._reading.slow_interval_s, self._gpu)
        gate = ConnectLimiter(_CONNECTS_AT_ONCE, _RECONNECTS_AT_ONCE, _CONNECT_SPACING_S)
        resolver = Resolver(self._ssh_config)
        for server, address in self._addresses.items():
            connection = KeptConnection(server, Dialer(address, resolver, self._policy), gate)
            self._connections[server] = connection
            statuses = RemoteStatuses(self._reading.window_size, all_commands=self._all_commands)
            self._servers[server] = RemoteServer(server, connection, rhythm, statuses)
        for connection in self._connections.values():
            connection.start()
        threading.Thread(target=self._keep_alive, name="heartbeats", daemon=True).start()

    def _update_single_server(self, server: str) -> RemoteStatus:
        return self._servers[server].read()

    def _close(self) -> None:
        self._ending.set()
        for connection in self._connections.values():
            connection.close()

    def _keep_alive(self) -> None:
        while not self._ending.wait(_HEARTBEAT_LOOK_S):
            for server in self._servers.values():
                server.keep_alive()


def addresses(servers: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Address by name.

    Raises:
        MonitorSettingError: with all that is wrong.
    """
    listed = list(servers.items()) if isinstance(servers, Mapping) else [(one, one) for one in servers]
    problems = []
    found: dict[str, str] = {}
    for name, address in listed:
        if name in found:
            problems.append(f"servers: {name!r} is listed twice.")
        try:
            ServerName.parse(address, "servers" if name == address else f"servers, {name!r}")
        except MonitorSettingError as error:
            problems.append(str(error))
        found[name] = address
    if isinstance(servers, str):
        problems = [f"servers: {servers!r}, expected a list of names."]
    if problems:
        raise MonitorSettingError("\n".join(problems))
    return found


def host_key_policy(text: str) -> HostKeyPolicy:
    """The policy of this name.

    Raises:
        MonitorSettingError: there is none.
    """
    try:
        return HostKeyPolicy(text)
    except ValueError as error:
        known = " or ".join(repr(one.value) for one in HostKeyPolicy)
        raise MonitorSettingError(f"host_keys: {text!r}, expected {known}.") from error
