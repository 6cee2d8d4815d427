"""What a monitor says: frozen values with their time, their scope, and a reason where one is absent."""

import enum
import time
from dataclasses import dataclass, field


class Absence(enum.Enum):
    """Why there is no value. Unknown is never 0."""

    STARTING = "starting"
    UNSUPPORTED = "unsupported"
    DENIED = "denied"
    LOST = "lost"
    HUNG = "hung"
    UNREACHABLE = "unreachable"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class WindowStats:
    """Statistics of the last samples. All None where none of them had the value.

    Attributes:
        minimum, maximum, mean: over the samples that had the value.
        newest: of the newest sample; None where that one lacked it.
        count: number of samples that had the value.
    """

    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    newest: float | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class CgroupSample:
    """What the control group of the run may use and has used. None: no limit, or not told.

    Attributes:
        version: 1 or 2.
        memory_used_bytes, memory_limit_bytes: page cache included, as the kernel accounts it.
        cpu_limit_cores: quota divided by period.
        cpu_used_s: CPU time since the group was made.
        throttled_s: time its processes were kept waiting by the quota.
        oom_kills: processes of the group that the kernel killed for memory.
    """

    version: int
    memory_used_bytes: int | None = None
    memory_limit_bytes: int | None = None
    cpu_limit_cores: float | None = None
    cpu_used_s: float | None = None
    throttled_s: float | None = None
    oom_kills: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessTreeSample:
    """The run's process and its descendants, its monitors left out.

    Attributes:
        cpu_percent: of one core; None in the first sample.
        rss_bytes: sum of resident sizes; shared pages count in each process.
        processes, threads: how many.
        open_files: descriptors; None where not permitted.
    """

    cpu_percent: float | None
    rss_bytes: int
    processes: int
    threads: int
    open_files: int | None


@dataclass(frozen=True, slots=True)
class CPUSample:
    """One reading of a host. Rates are per second since the sample before; None in the first one.

    Attributes:
        monotonic_s, wall_time_s: when it was taken.
        cpu_percent: of all cores together, 0..100 (host).
        core_percent: of each core, 0..100 (host).
        load_1m: run queue, mean over a minute (host).
        memory_used_bytes, memory_total_bytes, swap_used_bytes: total less available (host).
        disk_read_bytes_per_s, disk_write_bytes_per_s, net_received_bytes_per_s,
        net_sent_bytes_per_s: of all devices (host).
        cgroup: limits and use of the run's control group; None where there is none.
        run: the run's process tree; None once it is gone.
    """

    monotonic_s: float
    wall_time_s: float
    cpu_percent: float | None
    core_percent: tuple[float, ...] | None
    load_1m: float
    memory_used_bytes: int
    memory_total_bytes: int
    swap_used_bytes: int
    disk_read_bytes_per_s: float | None
    disk_write_bytes_per_s: float | None
    net_received_bytes_per_s: float | None
    net_sent_bytes_per_s: float | None
    cgroup: CgroupSample | None
    run: ProcessTreeSample | None


@dataclass(frozen=True, slots=True)
class GPUProcess:
    """A process that holds memory of a GPU. The pid is the host's, also inside a container.

    Attributes:
        pid: process id as the driver tells it.
        memory_used_bytes: None where the driver does not tell.
        name: command name; None where /proc does not show the process.
        owner: user id; likewise.
        of_run: whether it belongs to the watched run's process tree.
    """

    pid: int
    memory_used_bytes: int | None
    name: str | None
    owner: int | None
    of_run: bool


@dataclass(frozen=True, slots=True)
class GPUSample:
    """One reading of one GPU. A field is None where `absent` says why.

    Attributes:
        uuid: identity; stays across reboots and driver resets.
        name: product name.
        utilization_percent: share of the driver's last sample period (1/6 to 1 s, NVML API
            reference, nvmlUtilization_t) in which any kernel ran: not the share of the GPU in use.
        memory_busy_percent: share of that period in which its memory was read or written: not the
            share of memory in use.
        memory_used_bytes, memory_total_bytes: of its own memory.
        temperature_c: of the core.
        power_w, power_limit_w: draw and limit.
        energy_j: since the driver was loaded.
        sm_clock_hz, memory_clock_hz: now.
        throttle_reasons: nvmlClocksEventReasons bits.
        fan_percent: of its full speed.
        ecc_errors: uncorrected, since the last reset of the counters.
        persistence_mode: whether the driver stays loaded without clients.
        mig_enabled: whether it is divided into instances.
        processes: those that hold memory.
        absent: per field name why it is None.
    """

    uuid: str
    name: str | None = None
    utilization_percent: float | None = None
    memory_busy_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    throttle_reasons: int | None = None
    fan_percent: float | None = None
    ecc_errors: int | None = None
    persistence_mode: bool | None = None
    mig_enabled: bool | None = None
    processes: tuple[GPUProcess, ...] | None = None
    absent: dict[str, Absence] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CPUStatus:
    """A host as its monitor last saw it.

    Attributes:
        sample: the newest reading.
        cpu_percent, memory_used_bytes: over the last `window_size` readings.
    """

    sample: CPUSample
    cpu_percent: WindowStats
    memory_used_bytes: WindowStats


@dataclass(frozen=True, slots=True)
class GPUStatus:
    """The GPUs of a host as their monitor last saw them.

    Attributes:
        monotonic_s, wall_time_s: when they were read.
        gpus: those the run may use, in CUDA's order where CUDA_VISIBLE_DEVICES is set.
        utilization_percent, memory_used_bytes: per UUID, over the last `window_size` readings.
        driver_version, cuda_version: as the driver tells them.
        absence: why there is no GPU to show; None where the driver answers.
    """

    monotonic_s: float
    wall_time_s: float
    gpus: tuple[GPUSample, ...] = ()
    utilization_percent: dict[str, WindowStats] = field(default_factory=dict)
    memory_used_bytes: dict[str, WindowStats] = field(default_factory=dict)
    driver_version: str | None = None
    cuda_version: str | None = None
    absence: Absence | None = None


def age_s(monotonic_s: float) -> float:
    """Seconds since `monotonic_s`. Linux has one monotonic clock for all processes."""
    return max(0.0, time.monotonic() - monotonic_s)
