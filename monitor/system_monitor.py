"""Both monitors of a machine behind one object: what a training run holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from monitor.base_monitor import BaseMonitor, check_not_negative, check_positive
from monitor.cpu_monitor import CPUMonitor
from monitor.errors import MonitorSettingError
from monitor.gpu_monitor import GPUMonitor
from monitor.health import MonitorHealth, monitor_health
from monitor.limits import ResourceLimits
from monitor.observation import STALE_INTERVALS, Observation, observations
from monitor.process.client import ClientSettings, MonitorClient
from monitor.process.messages import MonitorSpec
from monitor.status import CPUStatus, GPUSample, GPUStatus

LOCALHOST = "localhost"


@dataclass(frozen=True, slots=True)
class SystemSnapshot:
    """Everything that was known at one moment; it never changes, it only ages.

    Attributes:
        sequence: grows by one with each refresh; 0 before the first.
        cpu, gpu: observations by server. Each knows its age and is current or not.
        others: by class name and server, what further monitors have seen.
    """

    sequence: int = 0
    cpu: Mapping[str, Observation[CPUStatus]] = field(default_factory=dict)
    gpu: Mapping[str, Observation[GPUStatus]] = field(default_factory=dict)
    others: Mapping[str, Mapping[str, Observation[Any]]] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """The figures of this machine for one log line, JSON-ready; None where unknown or not current.

        Returns:
            cpu_percent, memory_used_bytes, memory_total_bytes, run_cpu_percent (of one core),
            run_rss_bytes, age_s, and in the order of the GPUs the lists gpu_util_percent,
            gpu_memory_used_bytes, gpu_memory_total_bytes, gpu_power_w, gpu_temperature_c.
        """
        seen_cpu, seen_gpu = self.cpu.get(LOCALHOST), self.gpu.get(LOCALHOST)
        cpu = None if seen_cpu is None else seen_cpu.current
        gpu = None if seen_gpu is None else seen_gpu.current
        gpus: Sequence[GPUSample] = () if gpu is None else gpu.gpus
        sample = None if cpu is None else cpu.sample
        run = None if sample is None else sample.run
        age = None if seen_cpu is None else seen_cpu.age_s
        return {
            "cpu_percent": None if sample is None else sample.cpu_percent,
            "memory_used_bytes": None if sample is None else sample.memory_used_bytes,
            "memory_total_bytes": None if sample is None else sample.memory_total_bytes,
            "run_cpu_percent": None if run is None else run.cpu_percent,
            "run_rss_bytes": None if run is None else run.rss_bytes,
            "age_s": None if age is None else round(age, 3),
            "gpu_util_percent": [one.utilization_percent for one in gpus],
            "gpu_memory_used_bytes": [one.memory_used_bytes for one in gpus],
            "gpu_memory_total_bytes": [one.memory_total_bytes for one in gpus],
            "gpu_power_w": [one.power_w for one in gpus],
            "gpu_temperature_c": [one.temperature_c for one in gpus],
        }


class SystemMonitor:
    """Watches processors, memory and GPUs beside a run, each in a process of its own.

    A copy is inert, see BaseMonitor.

    Args:
        servers: what to watch; this version knows 'localhost' alone.
        interval_s: seconds between readings, above 0.
        timeout_s: how long one reading may take, above 0; beyond it its process is replaced.
        window_size: readings that statistics go over, at least 1.
        join_timeout_s: time that `stop` gives the processes to end by themselves, from 0 on.
        gpu: watch GPUs too. False opens no driver: for reset and MIG changes, which an open
            client blocks, and for machines whose driver must not be polled.
        slow_interval_s: seconds between readings of what is costly to read: process lists, ECC
            counters, proportional memory; above 0.
        limits: what each process may use; None: the defaults of ResourceLimits.
        others: further monitors, not started, to run beside these two: with the interval and
            timeout of their own, but under one supervisor and within one budget for `stop`.

    Raises:
        MonitorSettingError: an argument is out of range, or two monitors are of the same class.
        MonitorClassError: see BaseMonitor.
    """

    def __init__(  # noqa: PLR0917 - the documented signature
        self,
        servers: Sequence[str] = (LOCALHOST,),
        interval_s: float = 1.0,
        timeout_s: float = 5.0,
        window_size: int = 10,
        join_timeout_s: float = 2.0,
        gpu: bool = True,
        slow_interval_s: float = 10.0,
        limits: ResourceLimits | None = None,
        others: Sequence[BaseMonitor[Any]] = (),
    ) -> None:
        if list(servers) != [LOCALHOST]:
            raise MonitorSettingError(
                f"servers: {servers!r}, expected ('localhost',): this version watches no other."
            )
        check_positive("interval_s", interval_s)
        check_positive("timeout_s", timeout_s)
        check_positive("window_size", window_size)
        check_positive("slow_interval_s", slow_interval_s)
        check_not_negative("join_timeout_s", join_timeout_s)
        self._settings = ClientSettings(interval_s, timeout_s, join_timeout_s, limits or ResourceLimits())
        self._window_size = int(window_size)
        self._slow_interval_s = slow_interval_s
        self._gpu = gpu
        # No run_pid: in its process a monitor takes the one that started the host.
        self._others = tuple(others)
        self._specs = self._all_specs()
        self._released = False
        self._snapshot = SystemSnapshot()
        self._client: MonitorClient | None = None

    def start(self) -> None:
        """Start the processes; returns at once. A stopped monitor is not started again."""
        if self._client is None:
            self._client = MonitorClient(self._specs, self._settings, self._refresh)
            if self._released:
                self._client.release(released=True)
        self._client.start()

    def release(self) -> None:
        """Have the GPU driver closed, so that a GPU can be reset or divided; returns at once.

        It is closed within an interval, unless a call into it hangs: then GPUStatus.released stays False.
        """
        self._set_released(True)

    def resume(self) -> None:
        """Have the GPU driver opened again after `release`; returns at once."""
        self._set_released(False)

    def latest(self) -> SystemSnapshot:
        """The newest snapshot: a look at an attribute."""
        return self._snapshot

    def health(self) -> dict[str, MonitorHealth]:
        """How each monitor itself is, by class name, and the Manager under 'manager'."""
        names = [*(spec.name for spec in self._specs), "manager"]
        return {name: monitor_health(self._client, name) for name in names}

    def stop(self) -> None:
        """End all processes within `join_timeout_s` + 0.5 s; from any thread, any number of times.

        `latest` goes on to show the last snapshot, which ages.
        """
        if self._client is not None:
            self._client.stop()

    def __enter__(self) -> Self:
        """Started."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stopped."""
        self.stop()

    def _all_specs(self) -> tuple[MonitorSpec, ...]:
        arguments: dict[str, Any] = {
            "window_size": self._window_size,
            "slow_interval_s": self._slow_interval_s,
            "interval_s": self._settings.interval_s,
            "timeout_s": self._settings.timeout_s,
        }
        monitors: list[BaseMonitor[Any]] = [CPUMonitor(**arguments)]
        if self._gpu:
            monitors.append(GPUMonitor(**arguments))
        specs = tuple(monitor.spec() for monitor in (*monitors, *self._others))
        names = [spec.name for spec in specs]
        if len(set(names)) < len(names):
            raise MonitorSettingError(
                f"others: the monitors {names}, expected one of each class: reports go by its name."
            )
        return specs

    def _set_released(self, released: bool) -> None:
        self._released = released
        if self._client is not None:
            self._client.release(released=released)

    def _refresh(self) -> None:
        if self._client is None:
            return
        others = {type(monitor).__name__ for monitor in self._others}
        self._snapshot = SystemSnapshot(
            self._snapshot.sequence + 1,
            self._seen("CPUMonitor", self._settings.interval_s),
            self._seen("GPUMonitor", self._settings.interval_s),
            {one.name: self._seen(one.name, one.interval_s) for one in self._specs if one.name in others},
        )

    def _seen(self, name: str, interval_s: float) -> dict[str, Observation[Any]]:
        reports = {} if self._client is None else self._client.reports.get(name, {})
        return observations(reports, STALE_INTERVALS * interval_s)
