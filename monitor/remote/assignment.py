"""Which process reads which server: localhost by its own monitors, all others in groups of bounded size."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.remote.monitor import RemoteMonitor, addresses
from pylon.monitor.ssh import missing_ssh
from pylon.monitor.ssh.server_name import LOCALHOST

logger = logging.getLogger("pylon.monitor")

# All servers of a process share one report; and one that dies takes so many readings along.
MOST_HOSTS_PER_PROCESS = 250


def named_servers(servers: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Address by name.

    Raises:
        MonitorSettingError: a name is invalid, or is listed twice, or there is no server.
    """
    found = addresses(servers)
    if not found:
        raise MonitorSettingError("servers: there is none, expected at least one, such as 'localhost'.")
    for name, address in found.items():
        if address == LOCALHOST and name != LOCALHOST:
            raise MonitorSettingError(
                f"servers, {name!r}: localhost goes by its own name, expected 'localhost'."
            )
    if found.get(LOCALHOST, LOCALHOST) != LOCALHOST:
        raise MonitorSettingError(
            f"servers, 'localhost': {found[LOCALHOST]!r}, expected another name for it."
        )
    return found


def remote_monitors(
    servers: Mapping[str, str], hosts_per_process: int, settings: Mapping[str, Any]
) -> list[RemoteMonitor]:
    """Monitors for all servers but localhost, none larger than allowed, all about equally large.

    Args:
        servers: address by name.
        hosts_per_process: most servers in one process.
        settings: arguments of each RemoteMonitor.
    """
    remote = [(name, address) for name, address in servers.items() if name != LOCALHOST]
    lacking = missing_ssh() if remote else ""
    if lacking:
        logger.warning("%s", lacking)
    count = math.ceil(len(remote) / hosts_per_process)
    # Dealt out in turn: servers that are close to each other in a list often fail together.
    return [
        RemoteMonitor(dict(remote[place::count]), name=f"RemoteMonitor-{place}", **settings)
        for place in range(count)
    ]
