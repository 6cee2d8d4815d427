"""Pictures made by hand: every kind of server and run, at a fixed time."""

import time
from pathlib import Path
from typing import Any

from pylon.monitor import (
    Absence,
    CgroupSample,
    CPUSample,
    CPUStatus,
    GPUStatus,
    MonitorHealth,
    MonitorState,
    Observation,
    ServerHealth,
    SystemSnapshot,
    WindowStats,
    XidEvent,
)
from pylon.recorder.history import AlertRow, EndingRow, LaunchRow
from pylon.views.export.picture import Picture
from pylon.views.sources.board import Runs
from pylon.views.sources.runs import RunNow
from pylon.views.sources.servers import servers_now
from tests.monitor.statuses import GIB, gpu

AT = 1_800_000_000.0
HOSTILE = 'a"b\\c\n\x1b[31md\udc80{}'


def cpu(**fields: Any) -> CPUStatus:
    known: dict[str, Any] = {
        "cpu_percent": 12.5,
        "core_percent": (25.0, None, 0.0),
        "load_1m": 1.5,
        "memory_used_bytes": 8 * GIB,
        "memory_total_bytes": 64 * GIB,
        "net_received_bytes_per_s": 1000.0,
        "net_sent_bytes_per_s": 500.0,
        "disk_read_bytes_per_s": 0.0,
        "disk_write_bytes_per_s": 250.0,
        "cgroup": CgroupSample(
            2, memory_used_bytes=GIB, cpu_used_s=120.5, throttled_s=0.25, oom_kills=1, io_pressure_percent=2.5
        ),
    }
    return CPUStatus(CPUSample(0.0, AT, **(known | fields)), WindowStats(), WindowStats())


def fine_gpu(number: int, **fields: Any) -> Any:
    known = {
        "utilization_percent": 50.0,
        "temperature_c": 60.0,
        "power_w": 250.0,
        "energy_j": 1e6,
        "sm_clock_hz": 1.41e9,
        "throttle_reasons": 4,
        "throttle_names": ("sw_power_cap",),
        "ecc_uncorrected_errors": 0,
    }
    return gpu(number, **(known | fields))


def lost_gpu(number: int) -> Any:
    gone = ("memory_used_bytes", "memory_total_bytes", "utilization_percent", "processes")
    return gpu(
        number,
        **dict.fromkeys(gone),
        absent=dict.fromkeys(gone, Absence.LOST),
    )


def run(path: Path, at: float = AT, **fields: Any) -> RunNow:
    """A run that trains at `at`."""
    launch = LaunchRow(at - 3600, "runner", name="mine", host="here", configuration_digest="0123456789abcdef")
    known: dict[str, Any] = {
        "launch": launch,
        "launches": 2,
        "ending": None,
        "cause": "",
        "last_seen": at - 1,
        "epoch": 2,
        "epochs": 5,
        "step": 99,
        "step_at": at - 1.5,
        "loss": 0.25,
        "non_finite": 0,
        "step_s": 0.5,
        "wait_s": 0.125,
        "steps_per_s": 2.0,
        "score": ("f1", 0.75),
        "verdict": "Waits for data",
        "alerts": (AlertRow(1, "gpu_too_hot", "warning", at - 60, "hot"),),
        "doing": "training",
    }
    return RunNow(path, **(known | fields))


def ended(path: Path, ago_s: float, at: float = AT) -> RunNow:
    """A run that the kernel killed `ago_s` before `at`."""
    ending = EndingRow(1, at - ago_s, "killed", "cgroup_oom", "confirmed", "kernel")
    return run(path, at, ending=ending, last_seen=at - ago_s, doing=None)


def picture(runs: tuple[RunNow, ...] = (), **fields: Any) -> Picture:
    """This machine with a fine and a lost GPU, and a server whose readings are old."""
    now_s = time.monotonic()

    def seen(status: Any, age_s: float = 0.5) -> Observation[Any]:
        return Observation(status, now_s - age_s, 60.0, Absence.UNREACHABLE if age_s > 60 else None)

    xids = tuple(XidEvent(0.0, AT - ago_s, "GPU-1", xid) for ago_s, xid in ((90, 79), (60, 13), (30, 79)))
    gpus = GPUStatus(
        *(0.0, AT, (fine_gpu(0), lost_gpu(1))),
        driver_version="580.1",
        cuda_version="13.0",
        xid_events=xids,
    )
    snapshot = SystemSnapshot(
        1,
        {"localhost": seen(cpu()), "far": seen(cpu(), 3600.0)},
        {"localhost": seen(gpus), "far": seen(GPUStatus(0.0, AT, (fine_gpu(2),)), 3600.0)},
    )
    health = {
        "CPUMonitor": MonitorHealth(
            MonitorState.OK, restarts=1, servers={"localhost": ServerHealth(now_s, 0, reading_s=0.002)}
        )
    }
    known = {
        "servers": servers_now(snapshot, health, ["localhost", "far"]),
        "runs": Runs(runs, ("absent: does not exist",)),
        "monitors": health,
        "at": AT,
        "monotonic_s": now_s,
        "host": "here",
    }
    return Picture(**(known | fields))
