"""`free`: which GPUs of the fleet can be taken now."""

import argparse
import json
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from pylon.monitor.cli.commands import NONE_FREE, above_zero, added_parser, from_zero, whole_from_zero
from pylon.monitor.cli.options import ServerChoice, add_server_options
from pylon.monitor.cli.signals import Signals
from pylon.monitor.cli.waiting import gpus_have_answered, wait_for_all
from pylon.monitor.fleet.free import (
    FreeGPUs,
    NotFree,
    find_free_gpus,
    free_bytes,
    gpus_not_free,
    unknown_servers,
)
from pylon.monitor.status import Absence
from pylon.monitor.system import SystemSnapshot
from pylon.monitor.text import printable
from pylon.monitor.views.table import trouble_lines
from pylon.monitor.views.text import gib

if TYPE_CHECKING:
    from pylon.monitor.cli.commands import Subparsers

_GIB = 2**30
_INTERVAL_S = 1.0
_TIMEOUT_S = 30.0
# Reasons for an unknown list of processes that may be gone at the next reading.
_MAY_CHANGE = (Absence.HUNG, Absence.UNREACHABLE)


def add_parser(subparsers: "Subparsers") -> None:
    """Add the command."""
    example = "pylon free --servers-file fleet.toml --gpus 2 --memory-gb 24"
    parser = added_parser(subparsers, "free", free, "name the GPUs that a job can take now", example)
    parser.add_argument(
        "--gpus",
        type=whole_from_zero,
        default=1,
        metavar="N",
        help="on one server (1); 0: servers that answer",
    )
    parser.add_argument("--memory-gb", type=from_zero, default=0.0, metavar="G", help="GiB free on each (0)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--cuda", action="store_true", help="the best server and its CUDA_VISIBLE_DEVICES")
    form.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument("--timeout-s", type=above_zero, metavar="S", help="wait so long at most (30)")
    add_server_options(parser)


def free(options: argparse.Namespace, chosen: ServerChoice, signals: Signals) -> int:
    """Run the command; returns the exit code."""
    timeout_s = options.timeout_s or _TIMEOUT_S
    settings: dict[str, Any] = {
        "interval_s": _INTERVAL_S,
        "timeout_s": timeout_s,
        "slow_interval_s": _INTERVAL_S,
    }
    monitor = chosen.monitor(**settings, gpu=True)
    with monitor:
        answered = _gpus_are_known if options.gpus else _answers
        wait_for_all(monitor, list(chosen.servers), timeout_s, answered, signals)
        snapshot, health = monitor.latest(), monitor.health()
        wanted = (options.gpus, round(Fraction(options.memory_gb) * _GIB))
        found = find_free_gpus(snapshot, *wanted)
        unknown = unknown_servers(snapshot, chosen.servers, *wanted)
        others = gpus_not_free(snapshot, chosen.servers, wanted[1])
    if signals.number:
        return signals.exit_code
    sys.stdout.write(_shown(found, unknown, others, options, chosen))
    sys.stdout.flush()
    troubles = trouble_lines(snapshot, health, unknown)
    troubled = {server for server in unknown if trouble_lines(snapshot, health, [server])}
    # If a job has a place, only what is in trouble is of interest.
    few = [] if found or not options.gpus else find_free_gpus(snapshot, 1, wanted[1])
    reasons = (
        []
        if found or not options.gpus
        else _reason_lines([one for one in others if one.server not in troubled or one.gpu])
    )
    for line in [*troubles, *reasons, *(few_line(one, options.gpus) for one in few)]:
        sys.stderr.write(line + "\n")
    return 0 if found else NONE_FREE


def _gpus_are_known(snapshot: SystemSnapshot, server: str) -> bool:
    """Whether it is known who uses the server's GPUs, that it has none, or that waiting changes nothing."""
    seen = snapshot.gpu.get(server)
    status = None if seen is None else seen.current
    if seen is None or status is None or not gpus_have_answered(seen):
        return False
    return status.trouble is None and not any(
        gpu.absent.get("processes") in _MAY_CHANGE for gpu in status.gpus
    )


def _answers(snapshot: SystemSnapshot, server: str) -> bool:
    seen = snapshot.cpu.get(server)
    return seen is not None and seen.current is not None


def _shown(
    found: list[FreeGPUs],
    unknown: list[str],
    others: list[NotFree],
    options: argparse.Namespace,
    chosen: ServerChoice,
) -> str:
    if options.json:
        record = {
            "free": [_record(one) for one in found],
            "unknown": unknown,
            "not_free": [_reason_record(one) for one in others],
        }
        return json.dumps(record, indent=2) + "\n"
    if options.cuda:
        return "".join(_cuda_line(one, options.gpus, chosen) for one in found[:1])
    return "".join(_text_line(one) for one in found)


def _record(one: FreeGPUs) -> dict[str, Any]:
    gpus = [
        {"uuid": gpu.uuid, "index": gpu.index, "name": gpu.name, "free_bytes": free_bytes(gpu)}
        for gpu in one.gpus
    ]
    return {"server": one.server, "age_s": one.age_s, "gpus": gpus}


def _reason_record(one: NotFree) -> dict[str, Any]:
    gpu = one.gpu
    identity = {"uuid": gpu and gpu.uuid, "index": gpu and gpu.index, "name": gpu and gpu.name}
    return {"server": one.server, **identity, "reason": one.reason, "known": one.known}


def _reason_lines(others: list[NotFree]) -> list[str]:
    """A line per GPU that is not free, and per server without any."""
    lines = []
    for server, gpu, reason, _ in others:
        number = "" if gpu is None or gpu.index is None else f"{gpu.index} "
        which = "" if gpu is None else f"GPU {number}({gpu.name or gpu.uuid}): "
        lines.append(printable(f"{server}: {which}{reason}"))
    return lines


def few_line(one: FreeGPUs, wanted: int) -> str:
    """A server that has free GPUs, but too few."""
    return f"{printable(one.server)}: {len(one.gpus)} free, expected {wanted} on one server"


def _cuda_line(one: FreeGPUs, count: int, chosen: ServerChoice) -> str:
    # Of this machine alone the line can be given to `env` as it is.
    server = "" if chosen.only_local else f"{printable(one.server)} "
    return f"{server}CUDA_VISIBLE_DEVICES={printable(one.visible_devices(count))}\n"


def _text_line(one: FreeGPUs) -> str:
    gpus = ", ".join(
        f"{gpu.index} ({printable(gpu.name or gpu.uuid)}, {gib(free_bytes(gpu))} GiB)" for gpu in one.gpus
    )
    return f"{printable(one.server)}: {gpus or 'no free GPU'}\n"
