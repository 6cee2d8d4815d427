"""The monitors on the command line: `python -m monitor once [--json]` shows this machine once."""

import argparse
import dataclasses
import enum
import json
import logging
import sys
import time
from typing import Any

from monitor.errors import MonitorSettingError
from monitor.health import MonitorHealth
from monitor.observation import Observation
from monitor.status import (
    CgroupSample,
    CPUSample,
    CPUStatus,
    GPUProcess,
    GPUSample,
    GPUStatus,
    ProcessTreeSample,
    TopProcess,
    origins,
)
from monitor.system_monitor import LOCALHOST, SystemMonitor, SystemSnapshot

_GIB = 2**30
_LOOK_EVERY_S = 0.02
_INTERVAL_S = 0.5
_SAMPLES = (CPUSample, CgroupSample, ProcessTreeSample, TopProcess, GPUStatus, GPUSample, GPUProcess)

_EXIT_CODES = """exit codes:
  0    shown
  1    no answer within the time limit; what is known is shown
  2    the command line is wrong
  130  Ctrl-C
"""


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    try:
        monitor = SystemMonitor(interval_s=_INTERVAL_S, timeout_s=options.timeout_s, gpu=not options.no_gpu)
    except MonitorSettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        with monitor:
            answered = _wait_for_readings(monitor, options.timeout_s, gpu=not options.no_gpu)
            snapshot, health = monitor.latest(), monitor.health()
        text = _as_json(snapshot, health) if options.json else _as_text(snapshot, health)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Nobody reads the output (as with `| head`): nothing is wrong, and nothing is left to flush.
        sys.stdout = None
        return 0
    return 0 if answered else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m monitor",
        description=__doc__,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    once = commands.add_parser("once", help="show this machine once")
    once.add_argument("--json", action="store_true", help="everything, for programs")
    once.add_argument("--no-gpu", action="store_true", help="open no GPU driver")
    once.add_argument("--timeout-s", type=float, default=10.0, metavar="S", help="wait so long at most (10)")
    return parser


def _wait_for_readings(monitor: SystemMonitor, timeout_s: float, *, gpu: bool) -> bool:
    """Wait for two readings of the processors, as rates need, and one of the GPUs; whether they came."""
    give_up_s = time.monotonic() + timeout_s
    first_s = None
    while time.monotonic() < give_up_s:
        snapshot = monitor.latest()
        cpu, gpus = snapshot.cpu.get(LOCALHOST), snapshot.gpu.get(LOCALHOST)
        if cpu is not None and cpu.measured_s is not None:
            first_s = first_s or cpu.measured_s
            if cpu.measured_s > first_s and (not gpu or (gpus is not None and gpus.status is not None)):
                return True
        time.sleep(_LOOK_EVERY_S)
    return False


def _as_json(snapshot: SystemSnapshot, health: dict[str, MonitorHealth]) -> str:
    content = {
        "cpu": {server: _observed(seen) for server, seen in snapshot.cpu.items()},
        "gpu": {server: _observed(seen) for server, seen in snapshot.gpu.items()},
        "health": {name: _plain(one) for name, one in health.items()},
        "origins": {
            one.__name__: {name: _plain(origin) for name, origin in origins(one).items()} for one in _SAMPLES
        },
    }
    return json.dumps(content, indent=2)


def _observed(seen: Observation[Any]) -> dict[str, Any]:
    return {"age_s": seen.age_s, "absence": _plain(seen.absence), "status": _plain(seen.status)}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any status
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): _plain(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    return value


def _as_text(snapshot: SystemSnapshot, health: dict[str, MonitorHealth]) -> str:
    lines = []
    cpu, gpu = snapshot.cpu.get(LOCALHOST), snapshot.gpu.get(LOCALHOST)
    if cpu is not None and cpu.status is not None:
        lines += _cpu_lines(cpu.status)
    if gpu is not None and gpu.status is not None:
        lines += _gpu_lines(gpu.status)
    troubled = {name: one for name, one in health.items() if one.last_error}
    return "\n".join(
        lines + [f"{name}: {one.state.value}: {one.last_error}" for name, one in troubled.items()]
    )


def _cpu_lines(status: CPUStatus) -> list[str]:
    sample = status.sample
    busy = "?" if sample.cpu_percent is None else f"{sample.cpu_percent:.0f} %"
    cores = len(sample.core_percent or ())
    lines = [
        f"CPU     {busy} of {cores or '?'} cores, load {_load(sample.load_1m)}",
        f"memory  {_gib(sample.memory_used_bytes)} of {_gib(sample.memory_total_bytes)} GiB, "
        f"swap {_gib(sample.swap_used_bytes)} GiB",
    ]
    if sample.cgroup is not None and sample.cgroup.memory_limit_bytes is not None:
        group = sample.cgroup
        lines.append(f"cgroup  {_gib(group.memory_used_bytes)} of {_gib(group.memory_limit_bytes)} GiB")
    return lines


def _gpu_lines(status: GPUStatus) -> list[str]:
    if status.released:
        return ["GPU     driver released on request"]
    if status.absence is not None and not status.gpus:
        why = f": {status.error}" if status.error else ""
        return [f"GPU     none to show: {status.absence.value}{why}"]
    return [_gpu_line(number, gpu) for number, gpu in enumerate(status.gpus)] or ["GPU     none visible"]


def _gpu_line(number: int, gpu: GPUSample) -> str:
    busy = "?" if gpu.utilization_percent is None else f"{gpu.utilization_percent:.0f} %"
    power = "?" if gpu.power_w is None else f"{gpu.power_w:.0f} W"
    heat = "?" if gpu.temperature_c is None else f"{gpu.temperature_c:.0f} °C"
    memory = f"{_gib(gpu.memory_used_bytes)} of {_gib(gpu.memory_total_bytes)} GiB"
    return f"GPU {number}   {gpu.name or gpu.uuid}: {busy}, {memory}, {power}, {heat}"


def _load(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"


def _gib(value: int | None) -> str:
    return "?" if value is None else f"{value / _GIB:.1f}"
