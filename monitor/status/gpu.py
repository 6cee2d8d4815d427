"""The GPUs of a host as their monitor sees them."""

from dataclasses import dataclass, field
from typing import Any

from pylon.monitor.status.values import Absence, Scope, Side, WindowStats, measured, origins

# A GPU may have thousands of processes, and a command line any length: a status stays small.
MOST_PROCESSES = 64
COMMAND_CHARACTERS = 160
# By the driver's number.
COMPUTE_MODES = ("default", "exclusive_thread", "prohibited", "exclusive_process")

_QUERY = "nvidia-smi --query-gpu="
_OR = " or "
_APPS = "nvidia-smi --query-compute-apps"
_PARTS = "nvidia-smi -L"
_NOT_THERE = ""


def _device(nvml: str, *smi_fields: str, **settings: Any) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A field of a GPU.

    Args:
        nvml: the call that gives it on this machine.
        smi_fields: what nvidia-smi calls it in a query, the preferred name first; none: it has no name.
        settings: of dataclasses.field.
    """
    remote = _QUERY + _OR.join(smi_fields) if smi_fields else _NOT_THERE
    return measured(Scope.DEVICE, nvml, remote=remote, **{"default": None, **settings})


@dataclass(frozen=True, slots=True)
class GPUProcess:
    """A process that holds memory of a GPU.

    Attributes:
        pid: as the driver reports it: inside a container that may be the host's number for it.
        memory_used_bytes: None if the driver does not report it.
        compute, graphics: what it uses the GPU for; both may be true. A server lists compute only.
        gpu_instance_id: the MIG instance it runs on; None without MIG.
        name, command: name and command line, the latter cut to 160 characters; None if /proc does
            not show the process. The command line of another user's process is None unless `all_commands`
            is set.
        owner_uid, owner_name: its user; likewise. The name comes later if the user data base is slow.
        of_run: whether it belongs to the watched run's process tree; None if the pid may be another
            namespace's, so that this is unknown.
        side: where it was read.
    """

    pid: int = measured(Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses", remote=_APPS)
    memory_used_bytes: int | None = measured(
        Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses", remote=_APPS
    )
    compute: bool = measured(Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses", remote=_APPS)
    graphics: bool = measured(Scope.DEVICE, "nvmlDeviceGetGraphicsRunningProcesses", remote=_APPS)
    gpu_instance_id: int | None = measured(
        Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses", remote=_NOT_THERE, default=None
    )
    name: str | None = measured(
        Scope.PROCESS, "/proc/[pid]/comm", remote=f"/proc/[pid]/comm or {_APPS}", default=None
    )
    command: str | None = measured(Scope.PROCESS, "/proc/[pid]/cmdline", remote=_APPS, default=None)
    owner_uid: int | None = measured(Scope.PROCESS, "/proc/[pid]", remote="/proc/[pid]/status", default=None)
    owner_name: str | None = measured(Scope.HOST, "getpwuid", remote="id -un", default=None)
    of_run: bool | None = measured(Scope.PROCESS, "/proc/[pid]/stat", remote=_NOT_THERE, default=None)
    side: Side = Side.LOCAL


@dataclass(frozen=True, slots=True)
class MIGInstance:
    """One part of a GPU that is divided (MIG): a compute instance within a GPU instance.

    Attributes:
        uuid: 'MIG-...', as CUDA_VISIBLE_DEVICES names it.
        gpu_instance_id, compute_instance_id: numbers within the GPU.
        memory_used_bytes, memory_total_bytes: of the GPU instance that it is in.
        side: where it was read.
    """

    uuid: str = measured(Scope.DEVICE, "nvmlDeviceGetUUID", remote=_PARTS)
    gpu_instance_id: int | None = measured(
        Scope.DEVICE, "nvmlDeviceGetGpuInstanceId", remote=_PARTS, default=None
    )
    compute_instance_id: int | None = measured(
        Scope.DEVICE, "nvmlDeviceGetComputeInstanceId", remote=_PARTS, default=None
    )
    memory_used_bytes: int | None = _device("nvmlDeviceGetMemoryInfo")
    memory_total_bytes: int | None = _device("nvmlDeviceGetMemoryInfo")
    side: Side = Side.LOCAL


@dataclass(frozen=True, slots=True)
class GPUSample:
    """One reading of one GPU. A field is None if `absent` gives a reason.

    Attributes:
        uuid: identity; stays across reboots and driver resets. 'index:N' for a GPU that the driver
            counts but has not yet named.
        index: the driver's number for it in this session, in PCI bus order; None once it is gone.
        name, pci_bus_id: product name and place.
        utilization_percent: share of the driver's last sample period (1/6 to 1 s, NVML API
            reference, nvmlUtilization_t) in which any kernel ran: not the share of the GPU in use.
        memory_busy_percent: share of that period in which its memory was read or written: not the
            share of memory in use.
        memory_used_bytes, memory_total_bytes, memory_reserved_bytes: of its own memory. Reserved is
            what driver and firmware keep; drivers before 510 do not report it and count it as used.
        temperature_c: of the core.
        power_w, power_limit_w: draw (averaged over 1 s by newer cards) and limit in force.
        energy_j: since the driver was loaded.
        sm_clock_hz, memory_clock_hz, sm_clock_max_hz, memory_clock_max_hz: now, and at most.
        throttle_reasons, throttle_names: why clocks are below their maximum: nvmlClocksEventReasons
            bits, and the same in words; 'gpu_idle' is a reason too.
        slow_monotonic_s: when the fields below were read (they are read at a slower rate); None before.
        memory_temperature_c: of the memory; cards without HBM mostly do not report it.
        fan_percent: of its full speed, as intended by the driver.
        pcie_received_bytes_per_s, pcie_sent_bytes_per_s: over 20 ms, seen from the GPU.
        ecc_corrected_errors, ecc_uncorrected_errors: since the driver was loaded (volatile counters).
        persistence_mode: whether the driver stays loaded without clients.
        compute_mode: who may compute on it: 'default', 'exclusive_thread', 'prohibited' or
            'exclusive_process'.
        mig_enabled, mig_instances: whether it is divided, and into what.
        processes: those that hold memory: the run's first, then the largest; at most 64.
        processes_left_out: how many more there are.
        run_memory_used_bytes, others_memory_used_bytes: sums over all processes of the run and of
            others; None if one of them is unknown, as the sum would be too small.
        absent: per field name why it is None.
        side: where it was read.
    """

    uuid: str = measured(Scope.DEVICE, "nvmlDeviceGetUUID", remote=f"{_QUERY}uuid")
    index: int | None = _device("nvmlDeviceGetHandleByIndex", "index")
    name: str | None = _device("nvmlDeviceGetName", "name")
    pci_bus_id: str | None = _device("nvmlDeviceGetPciInfo", "pci.bus_id")
    utilization_percent: float | None = _device("nvmlDeviceGetUtilizationRates", "utilization.gpu")
    memory_busy_percent: float | None = _device("nvmlDeviceGetUtilizationRates", "utilization.memory")
    memory_used_bytes: int | None = _device("nvmlDeviceGetMemoryInfo", "memory.used")
    memory_total_bytes: int | None = _device("nvmlDeviceGetMemoryInfo", "memory.total")
    memory_reserved_bytes: int | None = _device("nvmlDeviceGetMemoryInfo", "memory.reserved")
    temperature_c: float | None = _device(
        "nvmlDeviceGetTemperature or nvmlDeviceGetTemperatureV", "temperature.gpu"
    )
    power_w: float | None = _device("nvmlDeviceGetPowerUsage", "power.draw")
    energy_j: float | None = _device("nvmlDeviceGetTotalEnergyConsumption")
    sm_clock_hz: float | None = _device("nvmlDeviceGetClockInfo", "clocks.sm")
    memory_clock_hz: float | None = _device("nvmlDeviceGetClockInfo", "clocks.mem")
    throttle_reasons: int | None = _device(
        "nvmlDeviceGetCurrentClocksThrottleReasons or nvmlDeviceGetCurrentClocksEventReasons",
        *("clocks_throttle_reasons.active", "clocks_event_reasons.active"),
    )
    throttle_names: tuple[str, ...] | None = _device(
        "nvmlDeviceGetCurrentClocksThrottleReasons or nvmlDeviceGetCurrentClocksEventReasons",
        *("clocks_throttle_reasons.active", "clocks_event_reasons.active"),
    )
    slow_monotonic_s: float | None = None
    memory_temperature_c: float | None = _device("nvmlDeviceGetFieldValues", "temperature.memory")
    sm_clock_max_hz: float | None = _device("nvmlDeviceGetMaxClockInfo", "clocks.max.sm")
    memory_clock_max_hz: float | None = _device("nvmlDeviceGetMaxClockInfo", "clocks.max.mem")
    power_limit_w: float | None = _device(
        "nvmlDeviceGetEnforcedPowerLimit", "enforced.power.limit", "power.limit"
    )
    fan_percent: float | None = _device("nvmlDeviceGetFanSpeed", "fan.speed")
    pcie_received_bytes_per_s: float | None = _device("nvmlDeviceGetPcieThroughput")
    pcie_sent_bytes_per_s: float | None = _device("nvmlDeviceGetPcieThroughput")
    ecc_corrected_errors: int | None = _device(
        "nvmlDeviceGetTotalEccErrors", "ecc.errors.corrected.volatile.total"
    )
    ecc_uncorrected_errors: int | None = _device(
        "nvmlDeviceGetTotalEccErrors", "ecc.errors.uncorrected.volatile.total"
    )
    persistence_mode: bool | None = _device("nvmlDeviceGetPersistenceMode", "persistence_mode")
    compute_mode: str | None = _device("nvmlDeviceGetComputeMode", "compute_mode")
    mig_enabled: bool | None = _device("nvmlDeviceGetMigMode", "mig.mode.current")
    mig_instances: tuple[MIGInstance, ...] | None = measured(
        Scope.DEVICE, "nvmlDeviceGetMigDeviceHandleByIndex", remote=_PARTS, default=None
    )
    processes: tuple[GPUProcess, ...] | None = measured(
        Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses", remote=_APPS, default=None
    )
    processes_left_out: int = 0
    run_memory_used_bytes: int | None = _device("nvmlDeviceGetComputeRunningProcesses")
    others_memory_used_bytes: int | None = measured(
        Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses", remote=_APPS, default=None
    )
    absent: dict[str, Absence] = field(default_factory=dict)
    side: Side = Side.LOCAL


def smi_fields() -> dict[str, tuple[str, ...]]:
    """Fields of GPUSample that nvidia-smi can be queried for, and its names for each, preferred first."""
    sources = {name: origin.source for name, origin in origins(GPUSample, Side.REMOTE).items()}
    return {
        name: tuple(source.removeprefix(_QUERY).split(_OR))
        for name, source in sources.items()
        if source.startswith(_QUERY)
    }


@dataclass(frozen=True, slots=True)
class XidEvent:
    """An error that the driver reported of a GPU (NVIDIA, "Xid Errors").

    Attributes:
        monotonic_s, wall_time_s: of the reading that found it.
        uuid: of the GPU; None if the driver does not name one that is known.
        xid: its number; 999 is one that the driver does not know (NVML API reference, nvmlEventData_t).
        side: where it was read.
    """

    monotonic_s: float
    wall_time_s: float
    uuid: str | None
    xid: int = measured(Scope.DEVICE, "nvmlEventSetWait_v2", remote=_NOT_THERE)
    side: Side = Side.LOCAL


@dataclass(frozen=True, slots=True)
class GPUStatus:
    """The GPUs of a host as their monitor last saw them.

    Attributes:
        monotonic_s, wall_time_s: when they were read.
        gpus: those the run may use, in CUDA's order if CUDA_VISIBLE_DEVICES is set. A GPU that was
            seen once stays in view, with its fields absent, when it or the driver goes.
        utilization_percent, memory_used_bytes, temperature_c, power_w: per UUID, over the last
            `window_size` readings.
        driver_version, cuda_version: as the driver reports them; cuda_version is the newest it supports.
        absence: why the driver answers nothing; None if it answers.
        error: the driver's own message for that.
        released: the driver is closed on request, so that a GPU can be reset or divided.
        driver_calls: how many calls into the driver this reading took.
        xid_events: the newest Xid errors since the monitor's process began, by time; at most 16. What
            happened before it, or while the driver was closed, is not among them.
        side: where they were read.
    """

    monotonic_s: float
    wall_time_s: float
    gpus: tuple[GPUSample, ...] = ()
    utilization_percent: dict[str, WindowStats] = field(default_factory=dict)
    memory_used_bytes: dict[str, WindowStats] = field(default_factory=dict)
    temperature_c: dict[str, WindowStats] = field(default_factory=dict)
    power_w: dict[str, WindowStats] = field(default_factory=dict)
    driver_version: str | None = measured(
        Scope.HOST, "nvmlSystemGetDriverVersion", remote=f"{_QUERY}driver_version", default=None
    )
    cuda_version: str | None = measured(
        Scope.HOST, "nvmlSystemGetCudaDriverVersion", remote=_NOT_THERE, default=None
    )
    absence: Absence | None = None
    error: str | None = None
    released: bool = False
    driver_calls: int = 0
    xid_events: tuple[XidEvent, ...] = ()
    side: Side = Side.LOCAL

    @property
    def trouble(self) -> Absence | None:
        """`absence`, except that a host without a GPU driver is in no trouble: it has no GPUs."""
        without_driver = self.absence is Absence.UNSUPPORTED and not self.gpus
        return None if without_driver else self.absence
