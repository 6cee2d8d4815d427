"""Observations of the monitors as readings of named figures, or why there is none."""

from collections.abc import Callable, Iterator
from typing import Any

from pylon.monitor import CPUStatus, GPUStatus, Observation, RemoteStatus, XidEvent
from pylon.recorder.history import SeriesKey
from pylon.recorder.process.figures import CGROUP, CORE_MAX, GPU, HOST, RUN, Figure

Reading = tuple[SeriesKey, float | None, str | None]


class Sampler:
    """Turns observations into readings, each sample once.

    Args:
        wall: monotonic seconds to the time of the record.

    Attributes:
        lost_gpus: UUIDs of those that the driver has lost, with the newest monotonic time of that.
        xids: what GPUs have reported since this list was emptied.
    """

    def __init__(self, wall: Callable[[float], float]) -> None:
        self._wall = wall
        self._keys: dict[tuple[str, str, str], SeriesKey] = {}
        # Figures that have had a value, by source: only these can have a gap.
        self._seen: dict[tuple[str, str], dict[SeriesKey, None]] = {}
        self._taken_s: dict[tuple[str, str], float] = {}
        self._slow_s: dict[tuple[str, ...], float | None] = {}
        self._absent: dict[tuple[str, str], str | None] = {}
        self._xids_until_s: dict[tuple[str, str], float] = {}
        self.lost_gpus: dict[str, float] = {}
        self.xids: list[XidEvent] = []

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
        parts = ((sample, HOST, "host"), (sample.cgroup, CGROUP, "cgroup"), (sample.run, RUN, "process"))
        for part, figures, scope in parts:
            if part is not None:
                yield from self._of_part(source, part, figures, device="", scope=scope, slow=slow)
        busiest = max((one for one in sample.core_percent or () if one is not None), default=None)
        if busiest is not None:
            yield self._key(source[1], "", CORE_MAX, "percent", "host"), busiest, None

    def _of_gpus(self, source: tuple[str, str], status: GPUStatus, at_s: float) -> Iterator[Reading]:
        for gpu in status.gpus:
            slow = self._slow_is_new((*source, gpu.uuid), gpu.slow_monotonic_s)
            yield from self._of_part(source, gpu, GPU, device=gpu.uuid, scope="device", slow=slow)
            if any(reason.value == "lost" for reason in gpu.absent.values()):
                self.lost_gpus[gpu.uuid] = at_s
        before_s = self._xids_until_s.get(source, 0.0)
        new = [one for one in status.xid_events if one.monotonic_s > before_s]
        if new:
            self._xids_until_s[source] = new[-1].monotonic_s
            self.xids += new

    def _of_part(
        self,
        source: tuple[str, str],
        part: Any,  # noqa: ANN401 - a sample of any kind
        figures: tuple[Figure, ...],
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
