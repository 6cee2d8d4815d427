"""From a server's name to a channel, by the ssh_config of now; and which files the user would fix it in."""

from collections.abc import Iterator
from pathlib import Path

from pylon.monitor.remote.changes import stamps
from pylon.monitor.remote.connection import Link
from pylon.monitor.remote.far import FAR_COMMAND
from pylon.monitor.ssh import (
    HostKeyPolicy,
    LoginRefusedError,
    Resolver,
    ServerName,
    SSHSettings,
    Stamps,
    open_channel,
)

_CONNECT_WITHIN_S = 15.0


class Dialer:
    """Connects to one server.

    Args:
        address: as `ssh` takes it.
        resolver: shared by the servers of a process.
        policy: see HostKeyPolicy.
    """

    def __init__(self, address: str, resolver: Resolver, policy: HostKeyPolicy) -> None:
        self._address = address
        self._resolver = resolver
        self._policy = policy
        self._settings: SSHSettings | None = None
        # Of the files of ssh_config, and of the keys and the known hosts.
        self._config_before: Stamps = {}
        self._before: tuple[object, ...] = ()

    def dial(self) -> Link:
        """A channel to the server's shell.

        Raises:
            MonitorSettingError: ssh_config is wrong for this server.
            SSHError: see open_channel.
        """
        # What is noted before the files are used cannot miss what the user does meanwhile.
        noted = self._resolver.stamps()
        self._before = self._stamps()
        try:
            self._settings = self._resolver.resolve(ServerName.parse(self._address))
        finally:
            self._config_before = {**self._resolver.stamps(), **noted}
        self._before = self._stamps()
        return open_channel(
            self._settings, FAR_COMMAND.encode(), policy=self._policy, deadline_s=_CONNECT_WITHIN_S
        )

    def user_has_acted(self, error: Exception) -> bool:
        """Whether a file has changed since the last try that may fix `error`.

        After a refused login that is ssh_config or a key; else ssh_config or the known host keys.
        """
        now = self._resolver.stamps()
        if any(now.get(file) != stamp for file, stamp in self._config_before.items()):
            return True
        keys, hosts = (now != before for now, before in zip(self._stamps(), self._before, strict=True))
        return keys if isinstance(error, LoginRefusedError) else hosts

    def _stamps(self) -> tuple[object, ...]:
        """Of our keys, of the files about host keys."""
        hops = () if self._settings is None else (*self._settings.hops, self._settings)
        keys = [file for hop in hops for file in _keys(hop)]
        hosts = [file for hop in hops for file in hop.known_hosts_files]
        hosts += [hop.revoked_host_keys for hop in hops if hop.revoked_host_keys is not None]
        return stamps(keys), stamps(hosts)


def _keys(settings: SSHSettings) -> Iterator[Path]:
    for file in settings.identity_files:
        yield file
        yield file.with_name(f"{file.name}-cert.pub")
    yield from settings.certificate_files
    if settings.agent is not None:
        yield settings.agent
