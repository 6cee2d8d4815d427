"""Observations of the monitors as readings of named figures: which, in what unit, and why there is none.

A figure's name has no unit in it. `core_max_utilization` is of the busiest core: one thread that is at its
limit shows there, also on a machine of a hundred cores.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pylon.monitor import CPUStatus, GPUStatus, Observation, RemoteStatus
from pylon.recorder.history import SeriesKey

Reading = tuple[SeriesKey, float | None, str | None]
_UNSUPPORTED = "unsupported"


class _Figure(NamedTuple):
    attribute: str
    name: str
    unit: str
    slow: bool = False


def _figures(*rows: tuple[str, str, str], slow: bool = False) -> tuple[_Figure, ...]:
    return tuple(_Figure(*row, slow) for row in rows)


_BYTES, _RATE = "bytes", "bytes_per_second"
_HOST = (
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
_CGROUP = (
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
_RUN = (
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
_GPU = (
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


class Sampler:
    """Turns observations into readings, each sample once.

    Args:
        wall: monotonic seconds to the time of the record.
    """

    def __init__(self, wall: Callable[[float], float]) -> None:
        self._wall = wall
        self._keys: dict[tuple[str, str, str], SeriesKey] = {}
        # Figures that have had a value, by source: only these can have a gap.
        self._seen: dict[tuple[str, str], dict[SeriesKey, None]] = {}
        self._taken_s: dict[tuple[str, str], float] = {}
        self._slow_s: dict[tuple[str, ...], float | None] = {}
        self._absent: dict[tuple[str, str], str | None] = {}
        self.lost_gpus: dict[str, float] = {}

    def readings(
        self, observed: dict[str, dict[str, Observation[Any]]], now_s: float
    ) -> Iterator[tuple[float, list[Reading]]]:
        """The time and the readings of each sample that is new."""
        for monitor, servers in observed.items():
            for server, seen in servers.items():
                yield from self._of_observation(monitor, server, seen, now_s)

    def _of_observation(
        self, monitor: str, server: str, seen: Observation[Any], now_s: float
    ) -> Iterator[tuple[float, list[Reading]]]:
        source = monitor, server
        absence = None if seen.absence is None else seen.absence.value
        if absence is not None:
            if absence != self._absent.get(source) and self._seen.get(source):
                yield self._wall(now_s), [(key, None, absence) for key in self._seen[source]]
            self._absent[source] = absence
            return
        self._absent[source] = None
        if seen.measured_s is None or seen.measured_s == self._taken_s.get(source):
            return
        self._taken_s[source] = seen.measured_s
        yield self._wall(seen.measured_s), list(self._of_status(source, seen.status, seen.measured_s))

    def _of_status(self, source: tuple[str, str], status: object, at_s: float) -> Iterator[Reading]:
        if isinstance(status, RemoteStatus):
            for part in (status.cpu, status.gpu):
                yield from self._of_status(source, part, at_s)
        elif isinstance(status, CPUStatus):
            yield from self._of_host(source, status)
        elif isinstance(status, GPUStatus):
            yield from self._of_gpus(source, status, at_s)

    def _of_host(self, source: tuple[str, str], status: CPUStatus) -> Iterator[Reading]:
        sample = status.sample
        slow = self._slow_is_new((*source, ""), sample.slow_monotonic_s)
        parts = ((sample, _HOST, "host"), (sample.cgroup, _CGROUP, "cgroup"), (sample.run, _RUN, "process"))
        for part, figures, scope in parts:
            if part is not None:
                yield from self._of_part(source, part, figures, device="", scope=scope, slow=slow)
        busiest = max((one for one in sample.core_percent or () if one is not None), default=None)
        if busiest is not None:
            yield self._key(source[1], "", "core_max_utilization", "percent", "host"), busiest, None

    def _of_gpus(self, source: tuple[str, str], status: GPUStatus, at_s: float) -> Iterator[Reading]:
        for gpu in status.gpus:
            slow = self._slow_is_new((*source, gpu.uuid), gpu.slow_monotonic_s)
            yield from self._of_part(source, gpu, _GPU, device=gpu.uuid, scope="device", slow=slow)
            if any(reason.value == "lost" for reason in gpu.absent.values()):
                self.lost_gpus[gpu.uuid] = at_s

    def _of_part(
        self,
        source: tuple[str, str],
        part: Any,  # noqa: ANN401 - a sample of any kind
        figures: tuple[_Figure, ...],
        *,
        device: str,
        scope: str,
        slow: bool,
    ) -> Iterator[Reading]:
        seen = self._seen.setdefault(source, {})
        for figure in figures:
            if figure.slow and not slow:
                continue
            value = getattr(part, figure.attribute)
            key = self._key(source[1], device, figure.name, figure.unit, scope)
            if value is not None:
                seen[key] = None
                yield key, float(value), None
            elif (reason := part.absent.get(figure.attribute)) is not None and key in seen:
                yield key, None, reason.value

    def _slow_is_new(self, source: tuple[str, ...], slow_s: float | None) -> bool:
        """Whether the figures that are read rarely have been read since the last sample."""
        new = slow_s != self._slow_s.get(source)
        self._slow_s[source] = slow_s
        return new

    def _key(self, server: str, device: str, name: str, unit: str, scope: str) -> SeriesKey:
        found = self._keys.get((server, device, name))
        if found is None:
            found = self._keys[server, device, name] = SeriesKey(server, device, name, unit, scope)
        return found
