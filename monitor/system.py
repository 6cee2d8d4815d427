"""All monitors of this machine and of others behind one object: what a training run holds."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylon.monitor.base import BaseMonitor
from pylon.monitor.cpu import CPUMonitor
from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.gpu import GPUMonitor
from pylon.monitor.limits import ResourceLimits
from pylon.monitor.process.client import MonitorClient
from pylon.monitor.process.messages import MonitorSpec
from pylon.monitor.remote.assignment import MOST_HOSTS_PER_PROCESS, named_servers, remote_monitors
from pylon.monitor.remote.monitor import RemoteMonitor, host_key_policy
from pylon.monitor.remote.view import RemoteView
from pylon.monitor.running import RunningMonitors
from pylon.monitor.settings import MonitorSettings, ReadingSettings, require_boolean
from pylon.monitor.ssh.server_name import LOCALHOST
from pylon.monitor.status import CPUStatus, GPUSample, GPUStatus
from pylon.monitor.status.flat import figures_line, flat_numbers
from pylon.monitor.status.health import MonitorHealth
from pylon.monitor.status.observation import STALE_INTERVALS, Observation, observations
from pylon.monitor.status.record import observation_record

_TWINS_NAMED = 5
_TWINS_LOG_SPACING_S = 60.0

logger = logging.getLogger("pylon.monitor")


@dataclass(frozen=True, slots=True)
class SystemSnapshot:
    """Everything that was known at one moment; it never changes, it only ages.

    Attributes:
        sequence: grows by one with each refresh; 0 before the first.
        cpu, gpu: observations by server. Each knows its age and is current or not.
        others: by class name and server, what further monitors have seen.
        same_machine: of each server that seems to be another one under a second name, that name:
            both show the same host key and call themselves alike.
    """

    sequence: int = 0
    cpu: Mapping[str, Observation[CPUStatus]] = field(default_factory=dict)
    gpu: Mapping[str, Observation[GPUStatus]] = field(default_factory=dict)
    others: Mapping[str, Mapping[str, Observation[Any]]] = field(default_factory=dict)
    same_machine: Mapping[str, str] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """The figures of this machine for one log line, JSON-ready; None where unknown or not current.

        Returns:
            cpu_percent, memory_used_bytes, memory_total_bytes, run_cpu_percent (of one core),
            run_rss_bytes, cgroup_memory_used_bytes, cgroup_memory_limit_bytes and cgroup_oom_kills (of the
            run's control group), age_s, and in the order of the GPUs the lists gpu_util_percent,
            gpu_memory_used_bytes, gpu_memory_total_bytes, gpu_power_w, gpu_temperature_c. If there are
            further monitors, `others` has by class name and server what `observation_record` gives.
        """
        seen_cpu, seen_gpu = self.cpu.get(LOCALHOST), self.gpu.get(LOCALHOST)
        cpu = None if seen_cpu is None else seen_cpu.current
        gpu = None if seen_gpu is None else seen_gpu.current
        gpus: Sequence[GPUSample] = () if gpu is None else gpu.gpus
        sample = None if cpu is None else cpu.sample
        run = None if sample is None else sample.run
        group = None if sample is None else sample.cgroup
        age = None if seen_cpu is None else seen_cpu.age_s
        record = {
            "cpu_percent": None if sample is None else sample.cpu_percent,
            "memory_used_bytes": None if sample is None else sample.memory_used_bytes,
            "memory_total_bytes": None if sample is None else sample.memory_total_bytes,
            "run_cpu_percent": None if run is None else run.cpu_percent,
            "run_rss_bytes": None if run is None else run.rss_bytes,
            "cgroup_memory_used_bytes": None if group is None else group.memory_used_bytes,
            "cgroup_memory_limit_bytes": None if group is None else group.memory_limit_bytes,
            "cgroup_oom_kills": None if group is None else group.oom_kills,
            "age_s": None if age is None else round(age, 3),
            "gpu_util_percent": [one.utilization_percent for one in gpus],
            "gpu_memory_used_bytes": [one.memory_used_bytes for one in gpus],
            "gpu_memory_total_bytes": [one.memory_total_bytes for one in gpus],
            "gpu_power_w": [one.power_w for one in gpus],
            "gpu_temperature_c": [one.temperature_c for one in gpus],
        }
        return record | ({"others": self.other_records()} if self.others else {})

    def numbers(self) -> dict[str, float | int]:
        """What is known of `as_record` as numbers alone, without None, for loggers: see `flat_numbers`."""
        return flat_numbers(self.as_record())

    def line(self) -> str:
        """This machine on one line, as 'cpu 42 %, memory 3.0/8.0 GiB, run 1.2 GiB'; '?' is unknown."""
        return figures_line(self.numbers(), len(self.as_record()["gpu_util_percent"]))

    def other_records(self) -> dict[str, dict[str, dict[str, Any]]]:
        """What further monitors have seen, by class name and server: see `observation_record`."""
        return {
            name: {server: observation_record(seen) for server, seen in by_server.items()}
            for name, by_server in self.others.items()
        }


class SystemMonitor(RunningMonitors):
    """Watches processors, memory and GPUs while a run goes on, in processes of its own.

    A copy is inert, see BaseMonitor.

    Args:
        servers: what to watch: 'localhost', and others as `ssh` takes them, `[user@]host[:port]`; or
            such by names of your choice.
        interval_s: seconds between readings, above 0.
        timeout_s: how long one reading may take, above 0. Beyond it a local monitor's process is
            replaced; a reading of another machine has failed.
        window_size: readings that statistics go over, at least 1.
        join_timeout_s: time that `stop` gives the processes to end by themselves, from 0 on.
        gpu: watch GPUs too. False opens no driver: for reset and MIG changes, which an open
            client blocks, and for machines whose driver must not be polled.
        slow_interval_s: seconds between readings of what is costly to read: process lists, ECC
            counters, proportional memory; above 0.
        limits: what each process may use; None: the defaults of ResourceLimits.
        others: further monitors, not started, to run next to these two: with the interval and
            timeout of their own, but under one supervisor and within one budget for `stop`.
        hosts_per_process: most servers, this machine aside, that one process reads; 1 to 250.
        ssh_config: file to look other servers up in, as `ssh -F` takes it: the system's is not read
            then; None: ~/.ssh/config and the system's.
        host_keys: 'strict': a server whose host key is not known is refused; 'accept-new': its key
            is noted. A changed key is refused in any case. StrictHostKeyChecking in ssh_config, if it
            is not 'ask', decides instead.
        all_commands: show the command lines of other users' GPU processes too, as far as /proc and nvidia-smi
            show them; False: only those of the user who reads them, here and on each server.

    Raises:
        MonitorSettingError: an argument is out of range, or two monitors have the same name.
        MonitorClassError: see BaseMonitor.
    """

    def __init__(  # noqa: PLR0917 - the documented signature
        self,
        servers: Sequence[str] | Mapping[str, str] = (LOCALHOST,),
        interval_s: float = 1.0,
        timeout_s: float = 5.0,
        window_size: int = 10,
        join_timeout_s: float = 2.0,
        gpu: bool = True,
        slow_interval_s: float = 10.0,
        limits: ResourceLimits | None = None,
        others: Sequence[BaseMonitor[Any]] = (),
        hosts_per_process: int = 64,
        ssh_config: Path | str | None = None,
        host_keys: str = "strict",
        all_commands: bool = False,
    ) -> None:
        super().__init__(
            MonitorSettings(
                interval_s, timeout_s, join_timeout_s, ResourceLimits() if limits is None else limits
            )
        )
        self._reading = ReadingSettings(window_size, slow_interval_s)
        if not (isinstance(hosts_per_process, int) and 1 <= hosts_per_process <= MOST_HOSTS_PER_PROCESS):
            raise MonitorSettingError(
                f"hosts_per_process: {hosts_per_process!r}, expected 1 to {MOST_HOSTS_PER_PROCESS}."
            )
        host_key_policy(host_keys)
        self._servers = named_servers(servers)
        self._hosts_per_process = hosts_per_process
        self._ssh: dict[str, Any] = {"ssh_config": ssh_config, "host_keys": host_keys}
        self._gpu = gpu
        self._all_commands = require_boolean("all_commands", all_commands)
        # No run_pid: in its process a monitor takes the one that started the supervisor.
        self._others = tuple(others)
        self._local_cpu: CPUMonitor | None = None
        self._local_gpu: GPUMonitor | None = None
        self._remote: list[RemoteMonitor] = []
        self._specs = self._all_specs()
        self._remote_view = RemoteView(list(self._servers), STALE_INTERVALS * interval_s, gpu=gpu)
        self._told_twins: set[str] = set()
        self._tell_twins_from_s = 0.0
        self._released = False
        self._snapshot = SystemSnapshot()

    def release(self) -> None:
        """Have this machine's GPU driver closed, so that a GPU can be reset or divided; returns at once.

        It is closed within an interval, unless a call into it hangs: then GPUStatus.released stays False.
        """
        self._ask_release(released=True)

    def resume(self) -> None:
        """Have the GPU driver opened again after `release`; returns at once."""
        self._ask_release(released=False)

    def latest(self) -> SystemSnapshot:
        """The newest snapshot: a look at an attribute."""
        return self._snapshot

    def health(self) -> dict[str, MonitorHealth]:
        """How each monitor itself is, by its name, and the Manager under 'manager'.

        Servers but this machine are spread over RemoteMonitor-0, -1, ...
        """
        names = [*(spec.name for spec in self._specs), "manager"]
        return {name: self._health_of(name) for name in names}

    def _monitor_specs(self) -> tuple[MonitorSpec, ...]:
        return self._specs

    def _new_client(self) -> MonitorClient:
        client = super()._new_client()
        if self._released:
            client.release(released=True)
        return client

    def _all_specs(self) -> tuple[MonitorSpec, ...]:
        arguments: dict[str, Any] = {
            "window_size": self._reading.window_size,
            "slow_interval_s": self._reading.slow_interval_s,
            "interval_s": self._settings.interval_s,
            "timeout_s": self._settings.timeout_s,
        }
        if LOCALHOST in self._servers:
            self._local_cpu = CPUMonitor(**arguments)
            self._local_gpu = GPUMonitor(all_commands=self._all_commands, **arguments) if self._gpu else None
        local = [one for one in (self._local_cpu, self._local_gpu) if one is not None]
        self._remote = remote_monitors(
            self._servers,
            self._hosts_per_process,
            {**arguments, **self._ssh, "gpu": self._gpu, "all_commands": self._all_commands},
        )
        specs = tuple(monitor.spec() for monitor in (*local, *self._remote, *self._others))
        names = [spec.name for spec in specs]
        if len(set(names)) < len(names):
            raise MonitorSettingError(
                f"others: the monitors {names}, expected one of each name: reports go by it."
            )
        return specs

    def _ask_release(self, *, released: bool) -> None:
        self._released = released
        if self._client is not None:
            self._client.release(released=released)

    def _refresh(self) -> None:
        if self._client is None:
            return
        reports = self._client.reports
        remote = self._remote_view.take([reports.get(one.name, {}) for one in self._remote])
        self._tell_of_twins(remote.same_machine)
        self._snapshot = SystemSnapshot(
            self._snapshot.sequence + 1,
            self._seen(self._local_cpu) | remote.cpu,
            self._seen(self._local_gpu) | remote.gpu,
            {one.name: self._seen(one) for one in self._others},
            remote.same_machine,
        )

    def _tell_of_twins(self, same_machine: Mapping[str, str]) -> None:
        new = sorted(same_machine.keys() - self._told_twins)
        now = time.monotonic()
        # Servers connect one after the other: one line for many of them.
        if not new or now < self._tell_twins_from_s:
            return
        self._tell_twins_from_s = now + _TWINS_LOG_SPACING_S
        self._told_twins |= set(new)
        named = ", ".join(f"{server} ({same_machine[server]})" for server in new[:_TWINS_NAMED])
        more = f" and {len(new) - _TWINS_NAMED} more" if len(new) > _TWINS_NAMED else ""
        logger.warning("monitor: servers that seem to be others under a second name: %s%s", named, more)

    def _seen(self, monitor: BaseMonitor[Any] | None) -> dict[str, Observation[Any]]:
        if monitor is None or self._client is None:
            return {}
        reports = self._client.reports.get(monitor.name, {})
        return observations(reports, STALE_INTERVALS * monitor.interval_s)
