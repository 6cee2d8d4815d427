"""Which GPUs of a fleet are free: no process computes there, enough memory is left, and both are known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.status import Absence, GPUSample, GPUStatus
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


class _Obstacle(NamedTuple):
    """Why a GPU is not free; not known: it may be free all the same."""

    reason: str
    known: bool = True


class NotFree(NamedTuple):
    """A GPU that cannot be taken.

    Attributes:
        server: its name.
        gpu: the GPU; None if this is about the server.
        reason: why, in words.
        known: False if it may be free all the same.
    """

    server: str
    gpu: GPUSample | None
    reason: str
    known: bool


def find_free_gpus(snapshot: SystemSnapshot, gpus: int = 1, memory_bytes: int = 0) -> list[FreeGPUs]:
    """The servers on which enough GPUs are free for one job.

    A GPU is free if its figures are current, no process computes on it but those of this run, at
    least `memory_bytes` of its memory are free, it is not divided (MIG), and its compute mode allows
    processes. What is not known never counts as free; with `memory_bytes` 0, a GPU that has no memory
    of its own counts if nothing uses it. It is a look, not a reservation: another process may be quicker.

    Args:
        snapshot: of SystemMonitor.
        gpus: how many the job needs on one server; 0: every server that answers has a place for it.
        memory_bytes: how much memory it needs on each.

    Returns:
        The tightest fit first, so that large jobs still find room; then by name.

    Raises:
        MonitorSettingError: an argument is out of range.
    """
    if gpus < 0:
        raise MonitorSettingError(f"gpus: {gpus!r}, expected a number from 0 on.")
    if memory_bytes < 0:
        raise MonitorSettingError(f"memory_bytes: {memory_bytes!r}, expected a number from 0 on.")
    found = [_free_on(server, seen, memory_bytes) for server, seen in snapshot.gpu.items()]
    enough = [one for one in found if len(one.gpus) >= gpus] if gpus else _answering(snapshot, found)
    return sorted(enough, key=lambda one: (len(one.gpus), one.server))


def _answering(snapshot: SystemSnapshot, found: list[FreeGPUs]) -> list[FreeGPUs]:
    """The servers whose figures are current, each with its free GPUs, which the job leaves to others."""
    gpus = {one.server: one.gpus for one in found}
    return [
        FreeGPUs(server, gpus.get(server, ()), seen.age_s)
        for server, seen in snapshot.cpu.items()
        if seen.current is not None and seen.age_s is not None
    ]


def why_not_free(gpu: GPUSample, memory_bytes: int = 0) -> str | None:
    """Why a GPU is not free, in words; None if it is."""
    obstacle = _obstacle(gpu, memory_bytes)
    return None if obstacle is None else obstacle.reason


def gpus_not_free(
    snapshot: SystemSnapshot, servers: Mapping[str, str], memory_bytes: int = 0
) -> list[NotFree]:
    """Why each other GPU of the servers cannot be taken; an entry without a GPU for a server without any."""
    found: list[NotFree] = []
    for server in servers:
        seen = snapshot.gpu.get(server)
        status = None if seen is None else seen.current
        if status is None or status.trouble is not None or not status.gpus:
            found.append(NotFree(server, None, *_why_none(seen)))
            continue
        for gpu in status.gpus:
            obstacle = _obstacle(gpu, memory_bytes)
            if obstacle is not None:
                found.append(NotFree(server, gpu, *obstacle))
    return found


def _why_none(seen: Observation[GPUStatus] | None) -> _Obstacle:
    status = None if seen is None else seen.current
    if seen is None or status is None:
        absence = Absence.STARTING if seen is None else seen.absence or Absence.STARTING
        return _Obstacle(f"GPUs are not known ({absence.value})", known=False)
    why = status.error or (status.absence.value if status.absence else "")
    if status.trouble is not None:
        return _Obstacle(f"GPUs are not known ({why})", known=False)
    return _Obstacle(f"no GPU ({why})" if why else "no GPU")


def _obstacle(gpu: GPUSample, memory_bytes: int) -> _Obstacle | None:
    if gpu.index is None:
        return _Obstacle("lost: not known to the driver any more")
    if gpu.processes is None:
        return _Obstacle(f"not known who uses it{_because(gpu, 'processes')}", known=False)
    others = [one for one in gpu.processes if one.compute and one.of_run is not True]
    if others or gpu.processes_left_out:
        names = sorted({one.owner_name or one.name or str(one.pid) for one in others})
        return _Obstacle(f"in use by {', '.join(names) or 'many'}")
    if gpu.mig_enabled:
        return _Obstacle("divided (MIG)")
    if gpu.compute_mode == "prohibited":
        return _Obstacle("no process may compute on it (compute mode 'prohibited')")
    return _memory_obstacle(gpu, memory_bytes)


def _memory_obstacle(gpu: GPUSample, memory_bytes: int) -> _Obstacle | None:
    left = free_bytes(gpu)
    if left is None or gpu.memory_used_bytes is None:
        if gpu.absent.get("memory_used_bytes") is not Absence.UNSUPPORTED:
            return _Obstacle(f"free memory not known{_because(gpu, 'memory_used_bytes')}", known=False)
        # Its memory is the machine's (GB10, Jetson): a job without a bound can take it.
        if memory_bytes > 0:
            return _Obstacle("free memory not known (it shares the machine's, or reports none)", known=False)
        return (
            None
            if gpu.utilization_percent == 0
            else _Obstacle(
                "not known whether it is in use (its memory is not known, and it is not idle)", known=False
            )
        )
    if not gpu.processes and gpu.memory_used_bytes > _UNEXPLAINED_BYTES:
        return _Obstacle("memory in use by processes that cannot be seen")
    return _Obstacle("not enough free memory") if left < memory_bytes else None


def _because(gpu: GPUSample, name: str) -> str:
    absence = gpu.absent.get(name)
    return "" if absence is None else f" ({absence.value})"


def free_bytes(gpu: GPUSample) -> int | None:
    """Memory that a job can still get; None if it is not known."""
    if gpu.memory_total_bytes is None or gpu.memory_used_bytes is None:
        return None
    return gpu.memory_total_bytes - gpu.memory_used_bytes - (gpu.memory_reserved_bytes or 0)


def unknown_servers(
    snapshot: SystemSnapshot, servers: Mapping[str, str], gpus: int = 1, memory_bytes: int = 0
) -> list[str]:
    """Servers of which it is not known now whether they have `gpus` free GPUs, or answer if that is 0."""
    if gpus == 0:
        answers = {one.server for one in _answering(snapshot, [])}
        return [server for server in servers if server not in answers]
    found: list[str] = []
    for server in servers:
        seen = snapshot.gpu.get(server)
        status = None if seen is None else seen.current
        if status is None or status.trouble is not None:
            found.append(server)
            continue
        obstacles = [_obstacle(gpu, memory_bytes) for gpu in status.gpus]
        possible = [one for one in obstacles if one is None or not one.known]
        if obstacles.count(None) < gpus <= len(possible):
            found.append(server)
    return found


def _free_on(server: str, seen: Observation[GPUStatus], memory_bytes: int) -> FreeGPUs:
    status = seen.current
    if status is None or status.absence is not None or seen.age_s is None:
        return FreeGPUs(server, (), 0.0)
    free = [gpu for gpu in status.gpus if why_not_free(gpu, memory_bytes) is None]
    return FreeGPUs(server, tuple(sorted(free, key=lambda gpu: -(free_bytes(gpu) or 0))), seen.age_s)
