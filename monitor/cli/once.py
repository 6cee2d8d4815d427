"""`once`: show the servers and end."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from pylon.monitor.cli.commands import above_zero, add_view_options, added_parser
from pylon.monitor.cli.options import ServerChoice, add_server_options
from pylon.monitor.cli.signals import Signals
from pylon.monitor.cli.waiting import two_readings, wait_for_all
from pylon.monitor.ssh.server_name import LOCALHOST
from pylon.monitor.status import Side
from pylon.monitor.status.health import MonitorHealth
from pylon.monitor.system import SystemSnapshot
from pylon.monitor.views.host import host_lines
from pylon.monitor.views.plain import origins_record, snapshot_record
from pylon.monitor.views.table import table_lines, trouble_lines

if TYPE_CHECKING:
    from pylon.monitor.cli.commands import Subparsers

# Two readings are needed. A fleet is not asked twice a second for them.
_SHORTEST_INTERVAL_S = 0.5
_INTERVAL_PER_SERVER_S = 0.01
_LONGEST_INTERVAL_S = 5.0
_LOCAL_TIMEOUT_S = 10.0
_REMOTE_TIMEOUT_S = 30.0


def add_parser(subparsers: "Subparsers") -> None:
    """Add the command."""
    example = "pylon once --server gpu1 --server alice@gpu2 --json"
    parser = added_parser(subparsers, "once", once, "show the servers once", example)
    parser.add_argument(
        "--timeout-s", type=above_zero, metavar="S", help="wait so long at most (10; 30 for others)"
    )
    add_view_options(parser)
    add_server_options(parser)


def once(options: argparse.Namespace, chosen: ServerChoice, signals: Signals) -> int:
    """Run the command; returns the exit code."""
    interval_s = max(_SHORTEST_INTERVAL_S, _INTERVAL_PER_SERVER_S * len(chosen.servers))
    timeout_s = options.timeout_s or (_LOCAL_TIMEOUT_S if chosen.only_local else _REMOTE_TIMEOUT_S)
    settings = {"interval_s": min(interval_s, _LONGEST_INTERVAL_S), "timeout_s": timeout_s}
    monitor = chosen.monitor(**settings)
    with monitor:
        silent = wait_for_all(monitor, list(chosen.servers), timeout_s, two_readings({}), signals)
        snapshot, health = monitor.latest(), monitor.health()
    if signals.number:
        return signals.exit_code
    text = _as_json(snapshot, health) if options.json else _as_text(snapshot, health, chosen)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    return 1 if silent else 0


def _as_json(snapshot: SystemSnapshot, health: dict[str, MonitorHealth]) -> str:
    sources = {"origins": origins_record(), "remote_origins": origins_record(Side.REMOTE)}
    return json.dumps({**snapshot_record(snapshot, health), **sources}, indent=2)


def _as_text(snapshot: SystemSnapshot, health: dict[str, MonitorHealth], chosen: ServerChoice) -> str:
    servers = list(chosen.servers)
    if chosen.only_local:
        troubled = {name: one for name, one in health.items() if one.last_error}
        return "\n".join(
            host_lines(snapshot, LOCALHOST)
            + [f"{name}: {one.state.value}: {one.last_error}" for name, one in troubled.items()]
        )
    table = table_lines(snapshot, health, servers, notes=False)
    return "\n".join([*table, *trouble_lines(snapshot, health, servers)])
