"""Limits and use of a control group, versions 1 and 2.

In a container psutil tells the host's figures; what binds the run stands here. Sources: Linux
kernel documentation, admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/.
"""

from collections.abc import Iterator
from pathlib import Path

from monitor.status import CgroupSample

# Version 1 writes "no limit" as the largest page-aligned number.
_V1_UNLIMITED = 2**62


def read_cgroup(pid: int, proc_root: Path, cgroup_root: Path) -> CgroupSample | None:
    """The group of process `pid`; None where it cannot be told.

    Args:
        pid: the process.
        proc_root: '/proc', or a recorded tree.
        cgroup_root: '/sys/fs/cgroup', or a recorded tree.
    """
    paths = _group_paths(proc_root / str(pid) / "cgroup")
    if (cgroup_root / "cgroup.controllers").exists() and "" in paths:
        return _read_v2(cgroup_root, paths[""])
    if "memory" in paths or "cpu" in paths:
        return _read_v1(cgroup_root, paths)
    return None


def _group_paths(file: Path) -> dict[str, str]:
    """Path of the group per controller; '' is version 2's only hierarchy."""
    text = _text(file) or ""
    rows = (line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2)
    return {controller: path for _, controllers, path in rows for controller in controllers.split(",")}


def _levels(root: Path, path: str) -> Iterator[Path]:
    """The group's folder and those above it. A container's path may lie outside the mount: then its root."""
    folder = root / path.lstrip("/")
    while folder != root and root in folder.parents:
        if folder.is_dir():
            yield folder
        folder = folder.parent
    yield root


def _read_v2(root: Path, path: str) -> CgroupSample:
    levels = list(_levels(root, path))
    own = levels[0]
    cpu = _pairs(own / "cpu.stat")
    limits = [limit for level in levels if (limit := _number(level / "memory.max")) is not None]
    quotas = [quota for level in levels if (quota := _v2_quota(level / "cpu.max")) is not None]
    return CgroupSample(
        version=2,
        memory_used_bytes=_number(own / "memory.current"),
        memory_limit_bytes=min(limits, default=None),
        cpu_limit_cores=min(quotas, default=None),
        cpu_used_s=_scaled(cpu.get("usage_usec"), 1e-6),
        throttled_s=_scaled(cpu.get("throttled_usec"), 1e-6),
        oom_kills=_pairs(own / "memory.events").get("oom_kill"),
    )


def _read_v1(root: Path, paths: dict[str, str]) -> CgroupSample:
    memory = list(_levels(root / "memory", paths.get("memory", "/")))
    cpu = list(_levels(root / "cpu", paths.get("cpu", "/")))
    limits = [_number(level / "memory.limit_in_bytes") for level in memory]
    bounded = [limit for limit in limits if limit is not None and limit < _V1_UNLIMITED]
    quotas = [quota for level in cpu if (quota := _v1_quota(level)) is not None]
    accounting = next(_levels(root / "cpuacct", paths.get("cpuacct", "/")))
    return CgroupSample(
        version=1,
        memory_used_bytes=_number(memory[0] / "memory.usage_in_bytes"),
        memory_limit_bytes=min(bounded, default=None),
        cpu_limit_cores=min(quotas, default=None),
        cpu_used_s=_scaled(_number(accounting / "cpuacct.usage"), 1e-9),
        throttled_s=_scaled(_pairs(cpu[0] / "cpu.stat").get("throttled_time"), 1e-9),
        oom_kills=_pairs(memory[0] / "memory.oom_control").get("oom_kill"),
    )


def _v2_quota(file: Path) -> float | None:
    fields = (_text(file) or "").split()
    return int(fields[0]) / int(fields[1]) if len(fields) == 2 and fields[0].isdigit() else None


def _v1_quota(folder: Path) -> float | None:
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota is not None and period and quota > 0 else None


def _pairs(file: Path) -> dict[str, int]:
    rows = (line.split() for line in (_text(file) or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _number(file: Path) -> int | None:
    text = (_text(file) or "").strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _scaled(value: int | None, unit: float) -> float | None:
    return None if value is None else value * unit


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
