"""Which servers, how: from the command line and a fleet file to a SystemMonitor."""

import argparse
from pathlib import Path
from typing import Any

from pylon.monitor.cli.own_monitors import own_monitor
from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh.server_name import LOCALHOST
from pylon.monitor.system import SystemMonitor


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """The options that name servers."""
    parser.add_argument("--servers-file", type=Path, metavar="FLEET.toml", help="servers and settings")
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="S",
        help="localhost or [user@]host[:port], as ssh takes it; may be repeated",
    )
    parser.add_argument(
        "--tag", action="append", default=[], metavar="T", help="only servers of the file with this tag"
    )
    parser.add_argument(
        "--ssh-config",
        type=Path,
        metavar="FILE",
        help="in place of ~/.ssh/config, as ssh -F takes it",
    )
    parser.add_argument(
        "--host-keys",
        choices=("strict", "accept-new"),
        help="what to do about a host key that is not known: refuse (default) or note it",
    )


def add_monitor_option(parser: argparse.ArgumentParser) -> None:
    """The option that adds monitors of the user's own."""
    parser.add_argument(
        "--monitor",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="a monitor of your own too, made without arguments, as mymodule:Mine or path/to/file.py:Mine; "
        "may be repeated",
    )


class ServerChoice:
    """The servers and settings that a command line asks for.

    Args:
        options: parsed.

    Raises:
        MonitorSettingError: a name is invalid, the fleet file is wrong, or a monitor cannot be made.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.servers: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        if options.servers_file is not None:
            # Imported here: a look at this machine alone needs no file and no ssh_config.
            from pylon.monitor.fleet.file import Fleet  # noqa: PLC0415

            fleet = Fleet.load(options.servers_file)
            fleet = fleet.with_tags(options.tag) if options.tag else fleet
            self.servers |= fleet.servers
            self.settings |= fleet.settings
        elif options.tag:
            raise MonitorSettingError(f"--tag: {options.tag!r}, expected --servers-file with it.")
        self.servers |= {address: address for address in options.server}
        self.servers = self.servers or {LOCALHOST: LOCALHOST}
        if options.ssh_config is not None:
            self.settings["ssh_config"] = options.ssh_config
        if options.host_keys is not None:
            self.settings["host_keys"] = options.host_keys
        if getattr(options, "all_commands", False):
            self.settings["all_commands"] = True
        if getattr(options, "no_gpu", False):
            self.settings["gpu"] = False
        if names := getattr(options, "monitor", []):
            self.settings["others"] = [own_monitor(name) for name in names]

    @property
    def only_local(self) -> bool:
        """Whether this machine alone is asked for."""
        return list(self.servers) == [LOCALHOST]

    def monitor(self, **settings: Any) -> SystemMonitor:  # noqa: ANN401 - those of SystemMonitor
        """A monitor of them, not started.

        Raises:
            MonitorSettingError: a setting is out of range.
        """
        return SystemMonitor(self.servers, **(self.settings | settings))
