"""The GPUs of one server in frames: what NVMLCollector is for local ones."""

from dataclasses import fields
from typing import Any

from pylon.monitor.collectors.nvml.device import Statistics
from pylon.monitor.remote.far.frames import Frame
from pylon.monitor.remote.far.gpu_sections import GPUSection, GPUUsers, figures_of, gpu_section, gpu_users
from pylon.monitor.remote.far.sections import Lines, MalformedError
from pylon.monitor.remote.far.smi import TOLD_FIELDS, GPUFigures, absence_of
from pylon.monitor.status.gpu import GPUSample, GPUStatus
from pylon.monitor.status.values import Absence, WindowStats, origins
from pylon.monitor.status.window import Window

MOST_PROCESSES = 64
# nvidia-smi is silent for longer than this, or than so many of its intervals: it stalls.
_SHORTEST_STALL_S = 5.0
_STALLED_INTERVALS = 3
# The first answer may take a driver without persistence mode seconds.
_FIRST_ANSWER_S = 10.0
_PLAIN_STATES: dict[str, tuple[Absence, str | None]] = {
    "off": (Absence.UNSUPPORTED, "not asked for"),
    "starting": (Absence.STARTING, None),
    "missing": (Absence.UNSUPPORTED, "nvidia-smi: not found"),
}
_IDENTITY = ("name", "pci_bus_id")
_USERS = ("processes", "others_memory_used_bytes")
_MEASURED = frozenset(origins(GPUSample)) - {"uuid", "index", *_IDENTITY}
# nvidia-smi's query does not tell these, and there is no run of ours there.
_NEVER_TOLD = _MEASURED - TOLD_FIELDS - {*_USERS, "mig_instances"}


class _Device:
    """A GPU that was seen once: it stays in view."""

    def __init__(self, uuid: str, window_size: int) -> None:
        self.uuid = uuid
        self.windows = tuple(Window(window_size) for _ in fields(Statistics))
        self.statistics = Statistics(WindowStats(), WindowStats(), WindowStats(), WindowStats())
        self.identity: dict[str, Any] = {}
        self.index: int | None = None
        self.read_s: float | None = None

    def add(self, sample: GPUSample) -> None:
        """Take a sample into the windows."""
        values = (sample.utilization_percent, sample.memory_used_bytes, sample.temperature_c, sample.power_w)
        self.statistics = Statistics(
            *(window.add(value) for window, value in zip(self.windows, values, strict=True))
        )


class RemoteGPUs:
    """Reads the frames of one server.

    Args:
        window_size: readings that statistics go over.
    """

    def __init__(self, window_size: int) -> None:
        self._window_size = window_size
        self._devices: dict[str, _Device] = {}
        self._driver_version: str | None = None
        # Told when they have changed, and now and then again: of which start of nvidia-smi, and what.
        self._queried: tuple[str, tuple[str, ...]] = ("", ())
        self._apps: Lines | None = None

    def status(self, frame: Frame, received_s: float, wall_time_s: float) -> GPUStatus:
        """The GPUs in `frame`. One that cannot be read costs no other."""
        absence, error, samples = self._read(frame, received_s)
        by_uuid = {sample.uuid: self._devices[sample.uuid].statistics for sample in samples}
        return GPUStatus(
            monotonic_s=received_s,
            wall_time_s=wall_time_s,
            gpus=tuple(samples),
            utilization_percent={uuid: one.utilization_percent for uuid, one in by_uuid.items()},
            memory_used_bytes={uuid: one.memory_used_bytes for uuid, one in by_uuid.items()},
            temperature_c={uuid: one.temperature_c for uuid, one in by_uuid.items()},
            power_w={uuid: one.power_w for uuid, one in by_uuid.items()},
            driver_version=self._driver_version,
            absence=absence,
            error=error,
        )

    def _read(self, frame: Frame, received_s: float) -> tuple[Absence | None, str | None, list[GPUSample]]:
        try:
            section = gpu_section(frame.sections.get("gpu", ()))
        except MalformedError:
            words = "the far end's words on GPUs cannot be read"
            return Absence.UNREACHABLE, words, self._all_absent(Absence.UNREACHABLE)
        if frame.uptime_s is None:
            words = "no /proc: nothing tells how old figures are"
            return Absence.UNSUPPORTED, words, self._all_absent(Absence.UNSUPPORTED)
        if section.queried:
            self._queried = (section.run, section.queried)
        elif section.run == self._queried[0]:
            section.queried = self._queried[1]
        self._apps = frame.sections.get("apps", self._apps)
        patience_s = max(_SHORTEST_STALL_S, _STALLED_INTERVALS * section.interval_s)
        read, nonsense = figures_of(section)
        newest_s = max((at for at, _ in read), default=None)
        age_s = None if newest_s is None else frame.uptime_s - newest_s
        if age_s is not None and age_s <= patience_s:
            users = gpu_users(self._apps, frame.uptime_s)
            fresh = [(at, one) for at, one in read if frame.uptime_s - at <= patience_s]
            recent = section.words_s is not None and frame.uptime_s - section.words_s <= patience_s
            return (
                None,
                (section.words if recent else None) or nonsense,
                self._samples(fresh, users, received_s),
            )
        absence, error = _trouble(section, frame.uptime_s, age_s, nonsense)
        if absence is Absence.UNSUPPORTED and self._devices:
            absence = Absence.LOST
        return absence, error, self._all_absent(absence or Absence.LOST)

    def _samples(
        self, read: list[tuple[float, GPUFigures]], users: GPUUsers | Absence, received_s: float
    ) -> list[GPUSample]:
        present: dict[str, GPUSample] = {}
        for at_s, figures in read:
            device = self._devices.setdefault(figures.uuid, _Device(figures.uuid, self._window_size))
            device.identity |= {name: figures.values[name] for name in _IDENTITY if name in figures.values}
            device.index = figures.index
            self._driver_version = figures.driver_version or self._driver_version
            sample = _sample(device, figures, users, received_s)
            present[device.uuid] = sample
            # A frame may come twice while nvidia-smi speaks once.
            if device.read_s != at_s:
                device.read_s = at_s
                device.add(sample)
        gone = [one for uuid, one in self._devices.items() if uuid not in present]
        there = sorted(present.values(), key=lambda one: one.index or 0)
        return there + [_absent_sample(one, Absence.LOST) for one in gone]

    def _all_absent(self, absence: Absence) -> list[GPUSample]:
        return [_absent_sample(one, absence) for one in self._devices.values()]


def _absent_sample(device: _Device, absence: Absence) -> GPUSample:
    """One that says nothing but who it is; in its windows a gap."""
    index = None if absence is Absence.LOST else device.index
    sample = GPUSample(device.uuid, index, **device.identity, absent=dict.fromkeys(_MEASURED, absence))
    device.read_s = None
    device.add(sample)
    return sample


def _sample(device: _Device, figures: GPUFigures, users: GPUUsers | Absence, received_s: float) -> GPUSample:
    values, absent = dict(figures.values), dict.fromkeys(_NEVER_TOLD, Absence.UNSUPPORTED)
    absent |= figures.absent
    left_out = 0
    if isinstance(users, Absence):
        absent |= dict.fromkeys(_USERS, users)
    else:
        found = users.processes.get(device.uuid, [])
        for part in users.parts.get(device.uuid, ()):
            found = found + users.processes.get(part.uuid, [])
        found.sort(key=lambda one: (-(one.memory_used_bytes or 0), one.pid))
        values["processes"], left_out = tuple(found[:MOST_PROCESSES]), max(0, len(found) - MOST_PROCESSES)
        amounts = [one.memory_used_bytes for one in found]
        if None in amounts:
            absent["others_memory_used_bytes"] = Absence.UNSUPPORTED
        else:
            values["others_memory_used_bytes"] = sum(one or 0 for one in amounts)
    divided = values.get("mig_enabled")
    parts = None if isinstance(users, Absence) else users.parts.get(device.uuid)
    if divided is None:
        absent["mig_instances"] = absent["mig_enabled"]
    elif not divided:
        values["mig_instances"] = ()
    elif parts is None:
        absent["mig_instances"] = users if isinstance(users, Absence) else Absence.STARTING
    else:
        values["mig_instances"] = parts
    for name in _IDENTITY:
        if name in device.identity:
            values[name] = device.identity[name]
            absent.pop(name, None)
    return GPUSample(
        device.uuid,
        figures.index,
        slow_monotonic_s=received_s,
        processes_left_out=left_out,
        **values,
        absent=absent,
    )


def _trouble(
    section: GPUSection, uptime_s: float, age_s: float | None, nonsense: str | None
) -> tuple[Absence | None, str | None]:
    """Why there are no fresh figures, in a word and in words."""
    if section.state in _PLAIN_STATES:
        return _PLAIN_STATES[section.state]
    if section.state == "ended":
        words = section.words or nonsense or "nvidia-smi: ended without a word"
        return absence_of(words), words
    since_s = section.since_s if age_s is None or section.state == "started" else uptime_s - age_s
    silent_s = max(0.0, uptime_s - (since_s or 0.0))
    if section.state == "started" and silent_s <= _FIRST_ANSWER_S:
        return Absence.STARTING, f"nvidia-smi: started {silent_s:.0f} s ago, has not answered yet"
    if since_s is None or (nonsense is not None and age_s is None):
        return Absence.UNREACHABLE, nonsense or section.words
    return Absence.HUNG, f"nvidia-smi: stalled since {silent_s:.0f} s ago (uptime {since_s:.0f} s there)"
