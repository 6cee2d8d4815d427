"""The GPUs of one server in frames: what NVMLCollector is for local ones."""

from typing import Any

from pylon.monitor.collectors.gpu_figures import (
    IDENTITY_FIELDS,
    MEASURED_FIELDS,
    USER_FIELDS,
    Figures,
    put_users,
)
from pylon.monitor.remote.far.frames import Frame
from pylon.monitor.remote.far.gpu_sections import MOST_GPUS, GPUSection, figures_of, gpu_section
from pylon.monitor.remote.far.gpu_users import GPUUsers, gpu_users
from pylon.monitor.remote.far.sections import Lines, MalformedError
from pylon.monitor.remote.far.smi import SMI_FIELDS, GPUFigures, absence_of
from pylon.monitor.status.gpu import GPUProcess, GPUSample, GPUStatus
from pylon.monitor.status.values import Absence, Side
from pylon.monitor.status.windows import GPUWindows

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
# There is no run of ours there.
_OF_RUN = "run_memory_used_bytes"
_OF_OTHERS = "others_memory_used_bytes"
# nvidia-smi cannot be queried for these.
_NOT_QUERIED = MEASURED_FIELDS - SMI_FIELDS - {*USER_FIELDS, "mig_instances"}


class _Device:
    """A GPU that was seen once: it stays in view."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.identity: dict[str, Any] = {}
        self.index: int | None = None
        self.read_s: float | None = None


class RemoteGPUs:
    """Reads the frames of one server.

    Args:
        window_size: readings that statistics go over.
    """

    def __init__(self, window_size: int) -> None:
        self._windows = GPUWindows(window_size)
        self._devices: dict[str, _Device] = {}
        self._driver_version: str | None = None
        # Sent when they have changed, and now and then again: of which start of nvidia-smi, and what.
        self._queried: tuple[str, tuple[str, ...]] = ("", ())
        self._apps: Lines | None = None
        self._commands_of: int | None = None

    def status(
        self, frame: Frame, received_s: float, wall_time_s: float, commands_of: int | None
    ) -> GPUStatus:
        """The GPUs in `frame`. One that cannot be read costs no other.

        Args:
            frame: the newest.
            received_s, wall_time_s: when it arrived.
            commands_of: see `gpu_users`.
        """
        self._commands_of = commands_of
        absence, error, samples = self._read(frame, received_s)
        status = GPUStatus(
            monotonic_s=received_s,
            wall_time_s=wall_time_s,
            gpus=tuple(samples),
            driver_version=self._driver_version,
            absence=absence,
            error=error,
            side=Side.REMOTE,
        )
        return self._windows.status(status)

    def _read(self, frame: Frame, received_s: float) -> tuple[Absence | None, str | None, list[GPUSample]]:
        try:
            section = gpu_section(frame.sections.get("gpu", ()))
        except MalformedError:
            message = "the far end's section on GPUs cannot be read"
            return Absence.UNREACHABLE, message, self._all_absent(Absence.UNREACHABLE)
        if frame.uptime_s is None:
            message = "no /proc: the age of figures is unknown"
            return Absence.UNSUPPORTED, message, self._all_absent(Absence.UNSUPPORTED)
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
            users = gpu_users(self._apps, frame.uptime_s, self._commands_of)
            fresh = [(at, one) for at, one in read if frame.uptime_s - at <= patience_s]
            recent = section.message_s is not None and frame.uptime_s - section.message_s <= patience_s
            error = (section.message if recent else None) or section.left_out or nonsense
            return None, error, self._samples(fresh, users, received_s)
        absence, error = _trouble(section, frame.uptime_s, age_s, nonsense)
        if absence is Absence.UNSUPPORTED and self._devices:
            absence = Absence.LOST
        return absence, error, self._all_absent(absence or Absence.LOST)

    def _samples(
        self, read: list[tuple[float, GPUFigures]], users: GPUUsers | Absence, received_s: float
    ) -> list[GPUSample]:
        present: dict[str, GPUSample] = {}
        for at_s, figures in read:
            device = self._devices.setdefault(figures.uuid, _Device(figures.uuid))
            device.identity |= {
                name: figures.values[name] for name in IDENTITY_FIELDS if name in figures.values
            }
            device.index = figures.index
            self._driver_version = figures.driver_version or self._driver_version
            sample = _sample(device, figures, users, received_s)
            present[device.uuid] = sample
            # A second frame may arrive before nvidia-smi prints again.
            if device.read_s != at_s:
                device.read_s = at_s
                self._windows.add(sample)
        gone = [one for uuid, one in self._devices.items() if uuid not in present]
        excess = max(0, len(self._devices) - MOST_GPUS)
        for device in gone[:excess]:
            del self._devices[device.uuid]
            self._windows.forget(device.uuid)
        gone = gone[excess:]
        there = sorted(present.values(), key=lambda one: one.index or 0)
        return there + [self._absent_sample(one, Absence.LOST) for one in gone]

    def _all_absent(self, absence: Absence) -> list[GPUSample]:
        return [self._absent_sample(one, absence) for one in self._devices.values()]

    def _absent_sample(self, device: _Device, absence: Absence) -> GPUSample:
        """One that has the identity only; in its windows a gap."""
        index = None if absence is Absence.LOST else device.index
        absent = dict.fromkeys(MEASURED_FIELDS, absence)
        sample = GPUSample(device.uuid, index, **device.identity, absent=absent, side=Side.REMOTE)
        device.read_s = None
        self._windows.add(sample)
        return sample


def _sample(device: _Device, line: GPUFigures, users: GPUUsers | Absence, received_s: float) -> GPUSample:
    figures = Figures(dict(line.values), dict.fromkeys(_NOT_QUERIED, Absence.UNSUPPORTED) | line.absent)
    left_out = _put_users(figures, device, users)
    _put_parts(figures, device.uuid, users)
    for name, value in device.identity.items():
        figures.put(name, value)
        figures.absent.pop(name, None)
    return GPUSample(
        device.uuid,
        line.index,
        slow_monotonic_s=received_s,
        processes_left_out=left_out,
        **figures.values,
        absent=figures.absent,
        side=Side.REMOTE,
    )


def _put_users(figures: Figures, device: _Device, users: GPUUsers | Absence) -> int:
    """Note the processes on a GPU and on its parts; how many are left out of the list."""
    left_out = 0
    found: list[GPUProcess] = []
    reasons = [users] if isinstance(users, Absence) else []
    if not isinstance(users, Absence):
        found, reasons = users.on(device.uuid, device.index, device.identity.get("pci_bus_id"))
    if reasons and not found:
        figures.absent |= dict.fromkeys(USER_FIELDS, reasons[0])
    else:
        left_out = put_users(figures, found) + len(reasons)
        for reason in reasons:
            # The sum over those that are known would be too small.
            figures.values.pop(_OF_OTHERS, None)
            figures.absent[_OF_OTHERS] = reason
    figures.values.pop(_OF_RUN, None)
    figures.absent[_OF_RUN] = Absence.UNSUPPORTED
    return left_out


def _put_parts(figures: Figures, uuid: str, users: GPUUsers | Absence) -> None:
    divided = figures.values.get("mig_enabled")
    if divided is None:
        figures.put("mig_instances", figures.absent["mig_enabled"])
    elif not divided:
        figures.put("mig_instances", ())
    else:
        found = users if isinstance(users, Absence) else users.parts.get(uuid, Absence.STARTING)
        figures.put("mig_instances", found)


def _trouble(
    section: GPUSection, uptime_s: float, age_s: float | None, nonsense: str | None
) -> tuple[Absence | None, str | None]:
    """Why there are no fresh figures: the reason, and a message."""
    if section.state in _PLAIN_STATES:
        return _PLAIN_STATES[section.state]
    if section.state == "ended":
        message = section.message or nonsense or "nvidia-smi: ended without a message"
        return absence_of(message), message
    since_s = section.since_s if age_s is None or section.state == "started" else uptime_s - age_s
    silent_s = max(0.0, uptime_s - (since_s or 0.0))
    if section.state == "started" and silent_s <= _FIRST_ANSWER_S:
        return Absence.STARTING, f"nvidia-smi: started {silent_s:.0f} s ago, has not answered yet"
    if since_s is None or (nonsense is not None and age_s is None):
        return Absence.UNREACHABLE, nonsense or section.message
    return Absence.HUNG, f"nvidia-smi: stalled since {silent_s:.0f} s ago (uptime {since_s:.0f} s there)"
