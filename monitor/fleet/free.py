"""Which GPUs of a fleet are free: no process computes there, enough memory is left, and both are known."""

from collections.abc import Mapping
from dataclasses import dataclass

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.status import GPUSample, GPUStatus
from pylon.monitor.status.observation import Observation
from pylon.monitor.system import SystemSnapshot

# Memory in use by no visible process is in use all the same (another container, another user). Below
# this it is the driver's own share, which drivers before 510 count as used.
_UNEXPLAINED_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class FreeGPUs:
    """The free GPUs of one server.

    Attributes:
        server: its name.
        gpus: free ones, those with most free memory first.
        age_s: seconds since they were read.
    """

    server: str
    gpus: tuple[GPUSample, ...]
    age_s: float

    def visible_devices(self, count: int) -> str:
        """CUDA_VISIBLE_DEVICES for the first `count`.

        By UUID: numbers depend on CUDA_DEVICE_ORDER. CUDA takes no other kind of name: by number then.
        """
        return ",".join(
            gpu.uuid if gpu.uuid.startswith("GPU-") else str(gpu.index) for gpu in self.gpus[:count]
        )


def find_free_gpus(snapshot: SystemSnapshot, gpus: int = 1, memory_bytes: int = 0) -> list[FreeGPUs]:
    """The servers on which enough GPUs are free for one job.

    A GPU is free if its figures are current, no process computes on it but those of this run, at
    least `memory_bytes` of its memory are free, and it is not divided (MIG). What is not known
    never counts as free. It is a look, not a reservation: another process may be quicker.

    Args:
        snapshot: of SystemMonitor.
        gpus: how many the job needs on one server, at least 1.
        memory_bytes: how much memory it needs on each.

    Returns:
        The tightest fit first, so that large jobs still find room; then by name.

    Raises:
        MonitorSettingError: an argument is out of range.
    """
    if gpus < 1:
        raise MonitorSettingError(f"gpus: {gpus!r}, expected at least 1.")
    if memory_bytes < 0:
        raise MonitorSettingError(f"memory_bytes: {memory_bytes!r}, expected a number from 0 on.")
    found = [_free_on(server, seen, memory_bytes) for server, seen in snapshot.gpu.items()]
    enough = [one for one in found if len(one.gpus) >= gpus]
    return sorted(enough, key=lambda one: (len(one.gpus), one.server))


def why_not_free(gpu: GPUSample, memory_bytes: int = 0) -> str | None:
    """Why a GPU is not free, in words; None where it is."""
    if gpu.index is None or gpu.processes is None:
        return "not known who uses it"
    others = [one for one in gpu.processes if one.compute and one.of_run is not True]
    if others or gpu.processes_left_out:
        names = sorted({one.owner_name or one.name or str(one.pid) for one in others})
        return f"in use by {', '.join(names) or 'many'}"
    return "divided (MIG)" if gpu.mig_enabled else _why_no_memory(gpu, memory_bytes)


def _why_no_memory(gpu: GPUSample, memory_bytes: int) -> str | None:
    left = free_bytes(gpu)
    if left is None or gpu.memory_used_bytes is None:
        return "free memory not known"
    if not gpu.processes and gpu.memory_used_bytes > _UNEXPLAINED_BYTES:
        return "memory in use by processes that cannot be seen"
    return "not enough free memory" if left < memory_bytes else None


def free_bytes(gpu: GPUSample) -> int | None:
    """Memory that a job can still get; None where it is not known."""
    if gpu.memory_total_bytes is None or gpu.memory_used_bytes is None:
        return None
    return gpu.memory_total_bytes - gpu.memory_used_bytes - (gpu.memory_reserved_bytes or 0)


def unknown_servers(snapshot: SystemSnapshot, servers: Mapping[str, str]) -> list[str]:
    """Servers of which it is not known now whether they have free GPUs."""
    return [
        server
        for server in servers
        if (seen := snapshot.gpu.get(server)) is None
        or seen.current is None
        or seen.current.trouble is not None
    ]


def _free_on(server: str, seen: Observation[GPUStatus], memory_bytes: int) -> FreeGPUs:
    status = seen.current
    if status is None or status.absence is not None or seen.age_s is None:
        return FreeGPUs(server, (), 0.0)
    free = [gpu for gpu in status.gpus if why_not_free(gpu, memory_bytes) is None]
    return FreeGPUs(server, tuple(sorted(free, key=lambda gpu: -(free_bytes(gpu) or 0))), seen.age_s)
