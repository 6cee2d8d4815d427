"""Every metric that is exported: name, kind, labels and help, and the figure that each is of.

Names follow the Prometheus guide: one prefix, base units as a plural suffix, ratios from 0 to 1, `_total` for
what only grows, `_info` for identity.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["gauge", "counter", "info"]


class Family(NamedTuple):
    """One metric.

    Attributes:
        kind: of Prometheus.
        labels: their names.
        help: one line.
    """

    kind: Kind
    labels: tuple[str, ...]
    help: str


class Place(NamedTuple):
    """Where a figure goes.

    Attributes:
        family: name of the metric.
        labels: values of its labels after those that name the server or the GPU.
        factor: from the figure's unit to the base unit.
    """

    family: str
    labels: tuple[str, ...] = ()
    factor: float = 1.0


_SCOPED = ("server", "scope")
_GPU = ("server", "uuid")
_RUN = ("run",)
_PERCENT = 0.01
PREFIX = "pylon_"

_SERVERS: dict[str, Family] = {
    "up": Family("gauge", ("server",), "Whether the host's readings are current."),
    "monitor_last_success_timestamp_seconds": Family(
        "gauge", ("server", "monitor"), "Unix time of the newest reading that succeeded."
    ),
    "monitor_absent": Family(
        "gauge", ("server", "monitor", "reason"), "1: nothing current is known, for this reason."
    ),
    "cpu_utilization_ratio": Family("gauge", _SCOPED, "CPU time used, of what may be used."),
    "cpu_core_max_utilization_ratio": Family("gauge", _SCOPED, "Utilization of the busiest core."),
    "cpu_used_cores": Family("gauge", _SCOPED, "CPU seconds used in each second."),
    "cpu_limit_cores": Family("gauge", _SCOPED, "Quota of CPU seconds in each second."),
    "cpuset_cores": Family("gauge", _SCOPED, "Cores that may be used."),
    "cpu_throttled_ratio": Family("gauge", _SCOPED, "Share of the quota's periods in which it ran out."),
    "cpu_seconds_total": Family("counter", _SCOPED, "CPU time used since the control group was created."),
    "cpu_throttled_seconds_total": Family(
        "counter", _SCOPED, "Time that processes were kept waiting by the quota, summed over cores."
    ),
    "load_1m": Family("gauge", _SCOPED, "Run queue, mean over a minute."),
    "memory_used_bytes": Family("gauge", _SCOPED, "Memory in use."),
    "memory_available_bytes": Family("gauge", _SCOPED, "Memory that can be allocated without swapping."),
    "memory_total_bytes": Family("gauge", _SCOPED, "Memory of the machine."),
    "memory_limit_bytes": Family("gauge", _SCOPED, "Limit of the control group, if one is set."),
    "memory_limit_used_bytes": Family("gauge", _SCOPED, "Memory that counts against the limit."),
    "memory_working_set_bytes": Family("gauge", _SCOPED, "Memory in use less the page cache freed first."),
    "swap_used_bytes": Family("gauge", _SCOPED, "Swap in use."),
    "swap_total_bytes": Family("gauge", _SCOPED, "Swap of the machine."),
    "oom_kills_total": Family("counter", _SCOPED, "Processes that the kernel killed for memory."),
    "pressure_waiting_ratio": Family(
        "gauge", ("server", "scope", "resource"), "Share of the last 10 s in which a task waited for it."
    ),
    "disk_read_bytes_per_second": Family("gauge", _SCOPED, "Read from the disks."),
    "disk_written_bytes_per_second": Family("gauge", _SCOPED, "Written to the disks."),
    "network_received_bytes_per_second": Family("gauge", _SCOPED, "Received by the network cards."),
    "network_sent_bytes_per_second": Family("gauge", _SCOPED, "Sent by the network cards."),
}
_GPUS: dict[str, Family] = {
    "gpu_driver": Family("info", ("server", "version", "cuda_version"), "The GPU driver."),
    "gpu": Family("info", ("server", "uuid", "index", "name"), "A GPU, as the driver names it."),
    "gpu_up": Family("gauge", _GPU, "1: it answers; 0: it is lost; absent: not known."),
    "gpu_utilization_ratio": Family("gauge", _GPU, "Share of time in which any kernel ran."),
    "gpu_memory_busy_ratio": Family("gauge", _GPU, "Share of time in which its memory was accessed."),
    "gpu_memory_used_bytes": Family("gauge", _GPU, "Memory in use."),
    "gpu_memory_total_bytes": Family("gauge", _GPU, "Its memory."),
    "gpu_temperature_celsius": Family("gauge", _GPU, "Temperature of the core."),
    "gpu_memory_temperature_celsius": Family("gauge", _GPU, "Temperature of the memory."),
    "gpu_power_watts": Family("gauge", _GPU, "Power draw."),
    "gpu_power_limit_watts": Family("gauge", _GPU, "Power limit in force."),
    "gpu_energy_joules_total": Family("counter", _GPU, "Energy used since the driver was loaded."),
    "gpu_sm_clock_hertz": Family("gauge", _GPU, "Clock of the multiprocessors."),
    "gpu_sm_clock_max_hertz": Family("gauge", _GPU, "Their clock at most."),
    "gpu_memory_clock_hertz": Family("gauge", _GPU, "Clock of the memory."),
    "gpu_throttle_reasons": Family("gauge", _GPU, "How many reasons hold the clocks down; idling is one."),
    "gpu_throttled": Family("gauge", (*_GPU, "reason"), "1 for each reason that holds the clocks down."),
    "gpu_xid_last_timestamp_seconds": Family(
        "gauge", (*_GPU, "xid"), "Unix time of the newest Xid error of this number, since the monitor began."
    ),
    "gpu_fan_ratio": Family("gauge", _GPU, "Fan speed, of its full speed."),
    "gpu_pcie_received_bytes_per_second": Family("gauge", _GPU, "Received over PCIe."),
    "gpu_pcie_sent_bytes_per_second": Family("gauge", _GPU, "Sent over PCIe."),
    "gpu_ecc_errors_total": Family(
        "counter", (*_GPU, "kind"), "Memory errors since the driver was loaded: corrected or uncorrected."
    ),
}
_RUNS: dict[str, Family] = {
    "run": Family(
        "info",
        ("run", "name", "kind", "host", "server", "config"),
        "A run; `server` is the watched server that it runs on, `config` a digest of its configuration.",
    ),
    "run_state": Family("gauge", ("run", "state"), "1 for the state of the newest launch, 0 for others."),
    "run_end": Family(
        "info",
        ("run", "state", "cause", "certainty"),
        "Why a run ended; `certainty` is confirmed, likely or not_observable.",
    ),
    "run_activity": Family("gauge", ("run", "activity"), "1 for what a running one does now, 0 for others."),
    "run_launches": Family("gauge", _RUN, "How often it was started."),
    "run_started_timestamp_seconds": Family("gauge", _RUN, "Unix time of the newest launch."),
    "run_ended_timestamp_seconds": Family("gauge", _RUN, "Unix time of its end."),
    "run_last_seen_timestamp_seconds": Family("gauge", _RUN, "Unix time of the newest entry in its record."),
    "run_step": Family("gauge", _RUN, "Newest step that was finished."),
    "run_last_step_timestamp_seconds": Family("gauge", _RUN, "Unix time of the end of that step."),
    "run_epoch": Family("gauge", _RUN, "Epoch under way, counted from 0."),
    "run_epochs": Family("gauge", _RUN, "Epochs that are planned."),
    "run_loss": Family("gauge", _RUN, "Mean over the newest seconds."),
    "run_non_finite_losses": Family("gauge", _RUN, "Losses of these seconds that are NaN or infinite."),
    "run_step_seconds": Family("gauge", _RUN, "Mean time of a step over the newest seconds."),
    "run_data_wait_seconds": Family("gauge", _RUN, "Mean wait for data within a step, over these seconds."),
    "run_steps_per_second": Family("gauge", _RUN, "Steps in each of these seconds."),
    "run_score": Family("gauge", ("run", "score"), "Newest score of a validation."),
    "run_last_checkpoint_timestamp_seconds": Family("gauge", _RUN, "Unix time of the newest checkpoint."),
    "run_expected_end_timestamp_seconds": Family("gauge", _RUN, "Unix time, from the pace of its epochs."),
    "run_bottleneck": Family("gauge", ("run", "verdict"), "1 for the newest verdict on what holds it back."),
    "run_alerts": Family(
        "gauge", ("run", "rule", "severity"), "How many alerts of the rule hold, as its recorder found."
    ),
}
_EXPORT: dict[str, Family] = {
    "build": Family("info", ("version",), "This exporter."),
    "monitor_process_ok": Family("gauge", ("process",), "Whether a monitor's process is in order."),
    "monitor_restarts_total": Family("counter", ("process",), "How often a monitor's process was replaced."),
    "monitor_failures": Family(
        "gauge", ("process", "server"), "Readings that failed since the newest that succeeded."
    ),
    "monitor_reading_seconds": Family("gauge", ("process", "server"), "Duration of the newest reading."),
    "records_unreadable": Family("gauge", (), "Paths of runs that do not exist or cannot be read."),
    "runs_left_out": Family("gauge", (), "Runs beyond the most that are read."),
}
FAMILIES: Mapping[str, Family] = _EXPORT | _SERVERS | _GPUS | _RUNS
"""By name, without prefix, and without the suffix that the kind adds: `_total` is in it, `_info` is not."""

_H, _C = ("host",), ("cgroup",)
OF_HOST: Mapping[str, Place] = {
    "cpu_utilization": Place("cpu_utilization_ratio", _H, _PERCENT),
    "core_max_utilization": Place("cpu_core_max_utilization_ratio", _H, _PERCENT),
    "load_1m": Place("load_1m", _H),
    "memory_used": Place("memory_used_bytes", _H),
    "memory_available": Place("memory_available_bytes", _H),
    "memory_total": Place("memory_total_bytes", _H),
    "swap_used": Place("swap_used_bytes", _H),
    "swap_total": Place("swap_total_bytes", _H),
    "disk_read": Place("disk_read_bytes_per_second", _H),
    "disk_write": Place("disk_written_bytes_per_second", _H),
    "net_received": Place("network_received_bytes_per_second", _H),
    "net_sent": Place("network_sent_bytes_per_second", _H),
    "cgroup_cpu_utilization": Place("cpu_utilization_ratio", _C, _PERCENT),
    "cgroup_cpu_used": Place("cpu_used_cores", _C),
    "cgroup_cpu_limit": Place("cpu_limit_cores", _C),
    "cgroup_cpuset": Place("cpuset_cores", _C),
    "cgroup_cpu_throttled": Place("cpu_throttled_ratio", _C, _PERCENT),
    "cgroup_memory_used": Place("memory_used_bytes", _C),
    "cgroup_memory_limit": Place("memory_limit_bytes", _C),
    "cgroup_memory_limit_used": Place("memory_limit_used_bytes", _C),
    "cgroup_memory_working_set": Place("memory_working_set_bytes", _C),
    "cgroup_oom_kills": Place("oom_kills_total", _C),
    "cgroup_cpu_pressure": Place("pressure_waiting_ratio", (*_C, "cpu"), _PERCENT),
    "cgroup_memory_pressure": Place("pressure_waiting_ratio", (*_C, "memory"), _PERCENT),
    "cgroup_io_pressure": Place("pressure_waiting_ratio", (*_C, "io"), _PERCENT),
}
"""By the name of the figure. The figures of a process tree are the exporter's own, and left out."""
OF_GPU: Mapping[str, Place] = {
    "gpu_utilization": Place("gpu_utilization_ratio", factor=_PERCENT),
    "gpu_memory_busy": Place("gpu_memory_busy_ratio", factor=_PERCENT),
    "gpu_memory_used": Place("gpu_memory_used_bytes"),
    "gpu_memory_total": Place("gpu_memory_total_bytes"),
    "gpu_temperature": Place("gpu_temperature_celsius"),
    "gpu_memory_temperature": Place("gpu_memory_temperature_celsius"),
    "gpu_power": Place("gpu_power_watts"),
    "gpu_power_limit": Place("gpu_power_limit_watts"),
    "gpu_energy": Place("gpu_energy_joules_total"),
    "gpu_sm_clock": Place("gpu_sm_clock_hertz"),
    "gpu_sm_clock_max": Place("gpu_sm_clock_max_hertz"),
    "gpu_memory_clock": Place("gpu_memory_clock_hertz"),
    "gpu_fan": Place("gpu_fan_ratio", factor=_PERCENT),
    "gpu_pcie_received": Place("gpu_pcie_received_bytes_per_second"),
    "gpu_pcie_sent": Place("gpu_pcie_sent_bytes_per_second"),
    "gpu_ecc_corrected": Place("gpu_ecc_errors_total", ("corrected",)),
    "gpu_ecc_uncorrected": Place("gpu_ecc_errors_total", ("uncorrected",)),
}
"""By the name of the figure. Why clocks are held down has series of its own; which memory is the run's is
known to the run's monitors alone."""
