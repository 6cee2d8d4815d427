"""From a server's name to a channel, by the ssh_config of now; and which files the user would fix it in."""

import threading
from collections.abc import Iterator
from pathlib import Path

from pylon.monitor.remote.changes import Stamp, stamps
from pylon.monitor.remote.connection import Link
from pylon.monitor.remote.far import FAR_COMMAND
from pylon.monitor.ssh import (
    HostKeyPolicy,
    LoginRefusedError,
    ServerName,
    SSHConfig,
    SSHSettings,
    open_channel,
    resolve,
)
from pylon.monitor.ssh.ssh_config import SYSTEM_CONFIG, Line

_CONNECT_WITHIN_S = 15.0


class ConfigFiles:
    """ssh_config with all that it includes, read again when it has changed. Used by any thread.

    Args:
        user_config: None: ~/.ssh/config.
    """

    def __init__(self, user_config: Path | None = None) -> None:
        self._user_config = user_config
        self._lock = threading.Lock()
        self._config: SSHConfig | None = None
        self._files = [user_config or SSHConfig.empty().home / ".ssh/config", SYSTEM_CONFIG]
        self._seen: tuple[Stamp, ...] = ()

    def current(self) -> tuple[SSHConfig, tuple[Stamp, ...]]:
        """The files as they are now, and what will differ once they are not.

        Raises:
            MonitorSettingError: they cannot be read, or a line of them not be understood.
        """
        with self._lock:
            now = stamps(self._files)
            if self._config is None or now != self._seen:
                self._seen, self._config = now, None
                self._config = SSHConfig.read(self._user_config)
                files = list(dict.fromkeys([*self._files[:2], *_files_of(self._config.lines)]))
                if files != self._files:
                    self._files, self._seen = files, stamps(files)
            return self._config, self._seen

    def stamps(self) -> tuple[Stamp, ...]:
        """What changes when the user writes one of the files."""
        return stamps(self._files)


def _files_of(lines: tuple[Line, ...]) -> Iterator[Path]:
    for line in lines:
        yield Path(line.where.rpartition(":")[0])
        yield from _files_of(line.included)


class Dialer:
    """Connects to one server.

    Args:
        address: as `ssh` takes it.
        config: shared by the servers of a process.
        policy: see HostKeyPolicy.
    """

    def __init__(self, address: str, config: ConfigFiles, policy: HostKeyPolicy) -> None:
        self._address = address
        self._config = config
        self._policy = policy
        self._settings: SSHSettings | None = None
        self._before: tuple[object, ...] = ()

    def dial(self) -> Link:
        """A channel to the server's shell.

        Raises:
            MonitorSettingError: ssh_config is wrong for this server.
            SSHError: see open_channel.
        """
        # What is noted before the files are used cannot miss what the user does meanwhile.
        self._before = self._stamps()
        config, read = self._config.current()
        self._before = (read, *self._before[1:])
        self._settings = resolve(ServerName.parse(self._address), config)
        self._before = (read, *self._stamps()[1:])
        return open_channel(
            self._settings, FAR_COMMAND.encode(), policy=self._policy, deadline_s=_CONNECT_WITHIN_S
        )

    def user_has_acted(self, error: Exception) -> bool:
        """Whether a file has changed since the last try that may fix `error`.

        After a refused login that is ssh_config or a key; else ssh_config or the known host keys.
        """
        config, keys, hosts = (
            now != before for now, before in zip(self._stamps(), self._before, strict=True)
        )
        return config or (keys if isinstance(error, LoginRefusedError) else hosts)

    def _stamps(self) -> tuple[object, ...]:
        """Of ssh_config, of our keys, of the known host keys."""
        hops = () if self._settings is None else (*self._settings.hops, self._settings)
        keys = [file for hop in hops for file in _keys(hop)]
        hosts = [file for hop in hops for file in hop.known_hosts_files]
        return self._config.stamps(), stamps(keys), stamps(hosts)


def _keys(settings: SSHSettings) -> Iterator[Path]:
    for file in settings.identity_files:
        yield file
        yield file.with_name(f"{file.name}-cert.pub")
    if settings.agent is not None:
        yield settings.agent
