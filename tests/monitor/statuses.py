"""Statuses made by hand, for tests of what is shown and chosen."""

import time
from typing import Any

from pylon.monitor import (
    CPUSample,
    CPUStatus,
    GPUProcess,
    GPUSample,
    GPUStatus,
    Observation,
    RemoteStatus,
    SystemSnapshot,
    WindowStats,
)

GIB = 2**30


def cpu(percent: float | None = 12.0) -> CPUStatus:
    sample = CPUSample(
        time.monotonic(),
        time.time(),
        cpu_percent=percent,
        load_1m=1.5,
        memory_used_bytes=8 * GIB,
        memory_total_bytes=64 * GIB,
    )
    return CPUStatus(sample, WindowStats(), WindowStats())


def process(
    pid: int = 1, *, compute: bool = True, of_run: bool | None = False, user: str = "alice"
) -> GPUProcess:
    return GPUProcess(pid, GIB, compute, not compute, owner_name=user, of_run=of_run)


def gpu(number: int = 0, used_gib: float = 0.5, **fields: Any) -> GPUSample:
    known: dict[str, Any] = {
        "name": "NVIDIA A100",
        "memory_used_bytes": round(used_gib * GIB),
        "memory_total_bytes": 80 * GIB,
        "memory_reserved_bytes": 0,
        "utilization_percent": 0.0,
        "processes": (),
        "mig_enabled": False,
    }
    return GPUSample(f"GPU-{number}", number, **(known | fields))


def gpus(*samples: GPUSample, **fields: Any) -> GPUStatus:
    return GPUStatus(time.monotonic(), time.time(), samples, **fields)


def remote(name: str = "far", key: str = "SHA256:a") -> RemoteStatus:
    return RemoteStatus(cpu(), gpus(), 0.0, 1.0, hostname=name, host_key=key)


def seen(status: Any, age_s: float = 0.0, **fields: Any) -> Observation[Any]:
    return Observation(status, None if status is None else time.monotonic() - age_s, 3.0, **fields)


def snapshot(**servers: GPUStatus) -> SystemSnapshot:
    """Of servers and their GPUs, all current."""
    return SystemSnapshot(
        1, {server: seen(cpu()) for server in servers}, {server: seen(one) for server, one in servers.items()}
    )
