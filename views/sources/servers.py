"""Servers as they are now: each figure by the name that it has in records, or why there is none."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pylon.monitor import (
    Absence,
    CPUSample,
    CPUStatus,
    GPUProcess,
    GPUSample,
    GPUStatus,
    MonitorHealth,
    Observation,
    SystemSnapshot,
)
from pylon.monitor.views.table import driver_message, server_health, server_note, server_state
from pylon.recorder.process.figures import CGROUP, CORE_MAX, GPU, HOST, RUN


class FigureNow(NamedTuple):
    """One figure.

    Attributes:
        value: the newest; None: it is not known now.
        age_s: seconds since its sample was taken; None: there was none.
        reason: why `value` is None, as Absence; None if there is a value.
    """

    value: float | None
    age_s: float | None
    reason: str | None = None


class _Place(NamedTuple):
    part: str
    attribute: str
    unit: str
    scope: str


def _places() -> dict[str, _Place]:
    parts = (("", HOST, "host"), ("cgroup", CGROUP, "cgroup"), ("run", RUN, "process"))
    return {
        one.name: _Place(part, one.attribute, one.unit, scope)
        for part, figures, scope in parts
        for one in figures
    } | {CORE_MAX: _Place("", "core_percent", "percent", "host")}


_OF_HOST = _places()
_OF_GPU = {one.name: _Place("", one.attribute, one.unit, "device") for one in GPU}
HOST_FIGURES: Mapping[str, str] = {name: place.unit for name, place in _OF_HOST.items()}
"""Names and units of a host's figures: percent, bytes, bytes_per_second, count, cores."""
GPU_FIGURES: Mapping[str, str] = {name: place.unit for name, place in _OF_GPU.items()}
"""Names and units of a GPU's figures: percent, bytes, celsius, watts, joules, hertz, bits, count."""


def scope_of(name: str) -> str:
    """What the figure `name` describes: 'host', 'cgroup', 'process' or 'device'.

    Raises:
        KeyError: there is no such figure.
    """
    return (_OF_GPU.get(name) or _OF_HOST[name]).scope


class GPUNow:
    """One GPU of a server.

    Args:
        seen: the observation that it is of.
        gpu: its sample, current or not.
        place: its place among the server's GPUs, from 0.
    """

    def __init__(self, seen: Observation[GPUStatus], gpu: GPUSample, place: int) -> None:
        self._seen = seen
        self.gpu = gpu
        self.place = place

    @property
    def uuid(self) -> str:
        """Its identity, and the `device` of its figures in records."""
        return self.gpu.uuid

    @property
    def is_current(self) -> bool:
        """Whether its sample is; whether it has gone is a part of that."""
        return self._seen.absence is None

    @property
    def processes(self) -> tuple[GPUProcess, ...] | None:
        """Those that use it; None: not known now."""
        return None if self._seen.absence is not None else self.gpu.processes

    def figure(self, name: str) -> FigureNow:
        """One of `GPU_FIGURES`.

        Raises:
            KeyError: there is no such figure.
        """
        place = _OF_GPU[name]
        return _figure(self._seen, self.gpu, place.attribute)

    def known(self) -> dict[str, float]:
        """Those of `GPU_FIGURES` that are known now, by name: all at once for little more than one."""
        if not self.is_current:
            return {}
        values = {name: getattr(self.gpu, place.attribute) for name, place in _OF_GPU.items()}
        return {name: value for name, value in values.items() if value is not None}


class ServerNow:
    """One server.

    Args:
        name: as the user calls it.
        snapshot: of SystemMonitor.
        note: the newest error; empty if there is none.
    """

    def __init__(self, name: str, snapshot: SystemSnapshot, note: str) -> None:
        self.name = name
        self.state = server_state(snapshot, name)
        self.note = note or driver_message(snapshot, name)
        self.same_as = snapshot.same_machine.get(name)
        self._cpu: Observation[CPUStatus] | None = snapshot.cpu.get(name)
        self._gpu: Observation[GPUStatus] | None = snapshot.gpu.get(name)
        self.others: dict[str, Observation[Any]] = {
            kind: by_server[name] for kind, by_server in snapshot.others.items() if name in by_server
        }

    @property
    def is_ok(self) -> bool:
        """Whether all its readings are current."""
        return self.state == "ok"

    @property
    def age_s(self) -> float | None:
        """Seconds since the host's newest sample; None: there was none."""
        return None if self._cpu is None else self._cpu.age_s

    @property
    def measured_s(self) -> float | None:
        """Monotonic time of the host's newest sample; None: there was none."""
        return None if self._cpu is None else self._cpu.measured_s

    @property
    def cpu(self) -> CPUStatus | None:
        """The host's status, if it is current."""
        return None if self._cpu is None else self._cpu.current

    @property
    def gpu_status(self) -> GPUStatus | None:
        """The status of its GPU driver, if it is current."""
        return None if self._gpu is None else self._gpu.current

    @property
    def readings(self) -> dict[str, Observation[Any]]:
        """What each monitor has seen of it: 'cpu', 'gpu', and further ones by their class name."""
        own = {"cpu": self._cpu, "gpu": self._gpu}
        return {kind: seen for kind, seen in own.items() if seen is not None} | self.others

    @property
    def gpus(self) -> tuple[GPUNow, ...]:
        """Its GPUs, also those whose figures are not current."""
        seen = self._gpu
        if seen is None or seen.status is None:
            return ()
        return tuple(GPUNow(seen, gpu, place) for place, gpu in enumerate(seen.status.gpus))

    @property
    def gpus_known(self) -> bool:
        """Whether it is known which GPUs it has."""
        return self._gpu is not None and self._gpu.status is not None

    def figure(self, name: str) -> FigureNow:
        """One of `HOST_FIGURES`.

        Raises:
            KeyError: there is no such figure.
        """
        place = _OF_HOST[name]
        if self._cpu is None or self._cpu.status is None:
            absence = Absence.STARTING if self._cpu is None else self._cpu.absence
            return FigureNow(None, None, (absence or Absence.STARTING).value)
        sample: CPUSample = self._cpu.status.sample
        holder = getattr(sample, place.part) if place.part else sample
        if holder is None:
            return FigureNow(None, self._cpu.age_s, _why(self._cpu, sample, place.part))
        found = _figure(self._cpu, holder, place.attribute)
        if name != CORE_MAX or not isinstance(found.value, tuple | list):
            return found
        known = [one for one in found.value if one is not None]
        reason = None if known else Absence.STARTING.value
        return FigureNow(max(known, default=None), found.age_s, reason)


def servers_now(
    snapshot: SystemSnapshot, health: Mapping[str, MonitorHealth], names: Sequence[str]
) -> tuple[ServerNow, ...]:
    """The servers, in the order of their names.

    Args:
        snapshot: of SystemMonitor.
        health: of SystemMonitor.
        names: of the servers.
    """
    by_server = server_health(health)
    return tuple(ServerNow(name, snapshot, server_note(by_server.get(name))) for name in names)


def _figure(seen: Observation[Any], holder: Any, attribute: str) -> FigureNow:  # noqa: ANN401 - any sample
    if seen.absence is not None:
        return FigureNow(None, seen.age_s, seen.absence.value)
    value = getattr(holder, attribute)
    reason = None if value is not None else _why(seen, holder, attribute)
    return FigureNow(value, seen.age_s, reason)


def _why(seen: Observation[Any], holder: Any, attribute: str) -> str:  # noqa: ANN401 - any sample
    absence: Absence = seen.absence or holder.absent.get(attribute, Absence.UNSUPPORTED)
    return absence.value
