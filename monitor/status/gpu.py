"""The GPUs of a host as their monitor sees them."""

from dataclasses import dataclass, field

from pylon.monitor.status.values import Absence, Scope, WindowStats, measured


@dataclass(frozen=True, slots=True)
class GPUProcess:
    """A process that holds memory of a GPU.

    Attributes:
        pid: as the driver tells it: inside a container that may be the host's number for it.
        memory_used_bytes: None where the driver does not tell.
        compute, graphics: what it uses the GPU for; both may be true.
        gpu_instance_id: the MIG instance it runs on; None without MIG.
        name, command: name and command line, the latter cut to 160 characters; None where /proc does
            not show the process.
        owner_uid, owner_name: its user; likewise. The name comes later where the user data base is slow.
        of_run: whether it belongs to the watched run's process tree; None where the pid may be another
            namespace's, so that it cannot be told.
    """

    pid: int = measured(Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses")
    memory_used_bytes: int | None = measured(Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses")
    compute: bool = measured(Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses")
    graphics: bool = measured(Scope.DEVICE, "nvmlDeviceGetGraphicsRunningProcesses")
    gpu_instance_id: int | None = measured(Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses", default=None)
    name: str | None = measured(Scope.PROCESS, "/proc/[pid]/comm", default=None)
    command: str | None = measured(Scope.PROCESS, "/proc/[pid]/cmdline", default=None)
    owner_uid: int | None = measured(Scope.PROCESS, "/proc/[pid]", default=None)
    owner_name: str | None = measured(Scope.HOST, "getpwuid", default=None)
    of_run: bool | None = measured(Scope.PROCESS, "/proc/[pid]/stat", default=None)


@dataclass(frozen=True, slots=True)
class MIGInstance:
    """One part of a GPU that is divided (MIG): a compute instance within a GPU instance.

    Attributes:
        uuid: 'MIG-...', as CUDA_VISIBLE_DEVICES names it.
        gpu_instance_id, compute_instance_id: numbers within the GPU.
        memory_used_bytes, memory_total_bytes: of the GPU instance it lies in.
    """

    uuid: str = measured(Scope.DEVICE, "nvmlDeviceGetUUID")
    gpu_instance_id: int | None = measured(Scope.DEVICE, "nvmlDeviceGetGpuInstanceId", default=None)
    compute_instance_id: int | None = measured(Scope.DEVICE, "nvmlDeviceGetComputeInstanceId", default=None)
    memory_used_bytes: int | None = measured(Scope.DEVICE, "nvmlDeviceGetMemoryInfo", default=None)
    memory_total_bytes: int | None = measured(Scope.DEVICE, "nvmlDeviceGetMemoryInfo", default=None)


@dataclass(frozen=True, slots=True)
class GPUSample:
    """One reading of one GPU. A field is None where `absent` says why.

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
            what driver and firmware keep; drivers before 510 do not tell it and count it as used.
        temperature_c: of the core.
        power_w, power_limit_w: draw (averaged over 1 s by newer cards) and limit in force.
        energy_j: since the driver was loaded.
        sm_clock_hz, memory_clock_hz, sm_clock_max_hz, memory_clock_max_hz: now, and at most.
        throttle_reasons, throttle_names: why clocks are below their maximum: nvmlClocksEventReasons
            bits, and the same in words; 'gpu_idle' is a reason too.
        slow_monotonic_s: when the fields below were read (they are read at a slower rate); None before.
        fan_percent: of its full speed, as intended by the driver.
        pcie_received_bytes_per_s, pcie_sent_bytes_per_s: over 20 ms, seen from the GPU.
        ecc_corrected_errors, ecc_uncorrected_errors: since the driver was loaded (volatile counters).
        persistence_mode: whether the driver stays loaded without clients.
        mig_enabled, mig_instances: whether it is divided, and into what.
        processes: those that hold memory: the run's first, then the largest; at most 64.
        processes_left_out: how many more there are.
        run_memory_used_bytes, others_memory_used_bytes: sums over all processes of the run and of
            others; None where one of them is unknown, as the sum would be too small.
        absent: per field name why it is None.
    """

    uuid: str = measured(Scope.DEVICE, "nvmlDeviceGetUUID")
    index: int | None = measured(Scope.DEVICE, "nvmlDeviceGetHandleByIndex", default=None)
    name: str | None = measured(Scope.DEVICE, "nvmlDeviceGetName", default=None)
    pci_bus_id: str | None = measured(Scope.DEVICE, "nvmlDeviceGetPciInfo", default=None)
    utilization_percent: float | None = measured(Scope.DEVICE, "nvmlDeviceGetUtilizationRates", default=None)
    memory_busy_percent: float | None = measured(Scope.DEVICE, "nvmlDeviceGetUtilizationRates", default=None)
    memory_used_bytes: int | None = measured(Scope.DEVICE, "nvmlDeviceGetMemoryInfo", default=None)
    memory_total_bytes: int | None = measured(Scope.DEVICE, "nvmlDeviceGetMemoryInfo", default=None)
    memory_reserved_bytes: int | None = measured(Scope.DEVICE, "nvmlDeviceGetMemoryInfo", default=None)
    temperature_c: float | None = measured(Scope.DEVICE, "nvmlDeviceGetTemperature", default=None)
    power_w: float | None = measured(Scope.DEVICE, "nvmlDeviceGetPowerUsage", default=None)
    energy_j: float | None = measured(Scope.DEVICE, "nvmlDeviceGetTotalEnergyConsumption", default=None)
    sm_clock_hz: float | None = measured(Scope.DEVICE, "nvmlDeviceGetClockInfo", default=None)
    memory_clock_hz: float | None = measured(Scope.DEVICE, "nvmlDeviceGetClockInfo", default=None)
    throttle_reasons: int | None = measured(
        Scope.DEVICE, "nvmlDeviceGetCurrentClocksEventReasons", default=None
    )
    throttle_names: tuple[str, ...] | None = measured(
        Scope.DEVICE, "nvmlDeviceGetCurrentClocksEventReasons", default=None
    )
    slow_monotonic_s: float | None = None
    sm_clock_max_hz: float | None = measured(Scope.DEVICE, "nvmlDeviceGetMaxClockInfo", default=None)
    memory_clock_max_hz: float | None = measured(Scope.DEVICE, "nvmlDeviceGetMaxClockInfo", default=None)
    power_limit_w: float | None = measured(Scope.DEVICE, "nvmlDeviceGetEnforcedPowerLimit", default=None)
    fan_percent: float | None = measured(Scope.DEVICE, "nvmlDeviceGetFanSpeed", default=None)
    pcie_received_bytes_per_s: float | None = measured(
        Scope.DEVICE, "nvmlDeviceGetPcieThroughput", default=None
    )
    pcie_sent_bytes_per_s: float | None = measured(Scope.DEVICE, "nvmlDeviceGetPcieThroughput", default=None)
    ecc_corrected_errors: int | None = measured(Scope.DEVICE, "nvmlDeviceGetTotalEccErrors", default=None)
    ecc_uncorrected_errors: int | None = measured(Scope.DEVICE, "nvmlDeviceGetTotalEccErrors", default=None)
    persistence_mode: bool | None = measured(Scope.DEVICE, "nvmlDeviceGetPersistenceMode", default=None)
    mig_enabled: bool | None = measured(Scope.DEVICE, "nvmlDeviceGetMigMode", default=None)
    mig_instances: tuple[MIGInstance, ...] | None = measured(
        Scope.DEVICE, "nvmlDeviceGetMigDeviceHandleByIndex", default=None
    )
    processes: tuple[GPUProcess, ...] | None = measured(
        Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses", default=None
    )
    processes_left_out: int = 0
    run_memory_used_bytes: int | None = measured(
        Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses", default=None
    )
    others_memory_used_bytes: int | None = measured(
        Scope.DEVICE, "nvmlDeviceGetComputeRunningProcesses", default=None
    )
    absent: dict[str, Absence] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GPUStatus:
    """The GPUs of a host as their monitor last saw them.

    Attributes:
        monotonic_s, wall_time_s: when they were read.
        gpus: those the run may use, in CUDA's order where CUDA_VISIBLE_DEVICES is set. A GPU that was
            seen once stays in view, with its fields absent, when it or the driver goes.
        utilization_percent, memory_used_bytes, temperature_c, power_w: per UUID, over the last
            `window_size` readings.
        driver_version, cuda_version: as the driver tells them; cuda_version is the newest it supports.
        absence: why the driver answers nothing; None where it answers.
        error: the driver's own words for that.
        released: the driver is closed on request, so that a GPU can be reset or divided.
        driver_calls: how many calls into the driver this reading took.
    """

    monotonic_s: float
    wall_time_s: float
    gpus: tuple[GPUSample, ...] = ()
    utilization_percent: dict[str, WindowStats] = field(default_factory=dict)
    memory_used_bytes: dict[str, WindowStats] = field(default_factory=dict)
    temperature_c: dict[str, WindowStats] = field(default_factory=dict)
    power_w: dict[str, WindowStats] = field(default_factory=dict)
    driver_version: str | None = measured(Scope.HOST, "nvmlSystemGetDriverVersion", default=None)
    cuda_version: str | None = measured(Scope.HOST, "nvmlSystemGetCudaDriverVersion", default=None)
    absence: Absence | None = None
    error: str | None = None
    released: bool = False
    driver_calls: int = 0
