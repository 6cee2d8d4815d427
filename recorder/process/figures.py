"""The figures that are recorded: name, unit, and the field of the sample that each comes from.

A figure's name has no unit in it. `core_max_utilization` is of the busiest core: one thread that is at its
limit shows there, also on a machine of a hundred cores.
"""

from typing import NamedTuple


class Figure(NamedTuple):
    """One figure.

    Attributes:
        attribute: of the sample.
        name: in the record.
        unit: of its values, as in SeriesKey.
        slow: whether it is read at the slower rate.
    """

    attribute: str
    name: str
    unit: str
    slow: bool = False


def _figures(*rows: tuple[str, str, str], slow: bool = False) -> tuple[Figure, ...]:
    return tuple(Figure(*row, slow) for row in rows)


_BYTES, _RATE = "bytes", "bytes_per_second"
HOST = (
    *_figures(
        ("cpu_percent", "cpu_utilization", "percent"),
        ("load_1m", "load_1m", "count"),
        ("memory_used_bytes", "memory_used", _BYTES),
        ("memory_available_bytes", "memory_available", _BYTES),
        ("disk_read_bytes_per_s", "disk_read", _RATE),
        ("disk_write_bytes_per_s", "disk_write", _RATE),
        ("net_received_bytes_per_s", "net_received", _RATE),
        ("net_sent_bytes_per_s", "net_sent", _RATE),
    ),
    *_figures(
        ("memory_total_bytes", "memory_total", _BYTES),
        ("swap_used_bytes", "swap_used", _BYTES),
        ("swap_total_bytes", "swap_total", _BYTES),
        slow=True,
    ),
)
CGROUP = (
    *_figures(
        ("memory_used_bytes", "cgroup_memory_used", _BYTES),
        ("memory_limit_used_bytes", "cgroup_memory_limit_used", _BYTES),
        ("cpu_used_cores", "cgroup_cpu_used", "cores"),
        ("cpu_percent", "cgroup_cpu_utilization", "percent"),
        ("throttled_percent", "cgroup_cpu_throttled", "percent"),
        ("oom_kills", "cgroup_oom_kills", "count"),
    ),
    *_figures(
        ("memory_limit_bytes", "cgroup_memory_limit", _BYTES),
        ("memory_working_set_bytes", "cgroup_memory_working_set", _BYTES),
        ("cpu_limit_cores", "cgroup_cpu_limit", "cores"),
        ("cpuset_cores", "cgroup_cpuset", "cores"),
        ("cpu_pressure_percent", "cgroup_cpu_pressure", "percent"),
        ("memory_pressure_percent", "cgroup_memory_pressure", "percent"),
        ("io_pressure_percent", "cgroup_io_pressure", "percent"),
        slow=True,
    ),
)
RUN = (
    *_figures(
        ("cpu_percent", "run_cpu", "percent"),
        ("rss_bytes", "run_memory", _BYTES),
        ("processes", "run_processes", "count"),
        ("threads", "run_threads", "count"),
        ("read_bytes_per_s", "run_read", _RATE),
        ("write_bytes_per_s", "run_write", _RATE),
    ),
    *_figures(
        ("pss_bytes", "run_memory_pss", _BYTES),
        ("open_files", "run_open_files", "count"),
        slow=True,
    ),
)
GPU = (
    *_figures(
        ("utilization_percent", "gpu_utilization", "percent"),
        ("memory_busy_percent", "gpu_memory_busy", "percent"),
        ("memory_used_bytes", "gpu_memory_used", _BYTES),
        ("temperature_c", "gpu_temperature", "celsius"),
        ("power_w", "gpu_power", "watts"),
        ("energy_j", "gpu_energy", "joules"),
        ("sm_clock_hz", "gpu_sm_clock", "hertz"),
        ("memory_clock_hz", "gpu_memory_clock", "hertz"),
        ("throttle_reasons", "gpu_throttle_reasons", "bits"),
        ("run_memory_used_bytes", "gpu_run_memory_used", _BYTES),
        ("others_memory_used_bytes", "gpu_others_memory_used", _BYTES),
    ),
    *_figures(
        ("memory_total_bytes", "gpu_memory_total", _BYTES),
        ("memory_temperature_c", "gpu_memory_temperature", "celsius"),
        ("sm_clock_max_hz", "gpu_sm_clock_max", "hertz"),
        ("power_limit_w", "gpu_power_limit", "watts"),
        ("fan_percent", "gpu_fan", "percent"),
        ("pcie_received_bytes_per_s", "gpu_pcie_received", _RATE),
        ("pcie_sent_bytes_per_s", "gpu_pcie_sent", _RATE),
        ("ecc_corrected_errors", "gpu_ecc_corrected", "count"),
        ("ecc_uncorrected_errors", "gpu_ecc_uncorrected", "count"),
        slow=True,
    ),
)
CORE_MAX = "core_max_utilization"
