"""What a stretch of a run comes to: its steps, its time, and the means of its figures while it trained.

    windows, marks, readings ── add ──> Stretch ── facts ──> Facts ──> rules

Fed by the recorder as it goes on, and from a record by `of_history`: both give the same facts.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pylon.recorder.history import MarkRow, SeriesKey, StepWindow

# Time in which no step is expected. Their readings are left out: an idle GPU is no fault there.
PHASES = ("validation", "checkpoint")
# Until so many steps are done, memory is allocated, kernels are chosen and loaders start.
WARM_UP_STEPS = 10
# nvmlClocksEventReasons (nvml.h): hw_slowdown, sw_thermal, hw_thermal, hw_power_brake.
_THERMAL_BITS = 0x20 | 0x40
_BRAKE_BITS = 0x08 | 0x80
_POWER_BITS = 0x04


@dataclass(frozen=True, slots=True)
class Facts:
    """A stretch in numbers; None is unknown.

    Attributes:
        elapsed_s: its length, from its first to its last entry.
        steps: how many, without those of the warm-up.
        step_s: mean time of a step, the wait for its data included.
        wait_s: mean exposed wait for data of a step.
        validation_s, checkpoint_s: time in validation and in saves, out of `whole_s`.
        cpu_percent: of all cores of the machine.
        busiest_core_percent: of the busiest core.
        run_cpu_percent: of the run's processes, 100 is one core.
        group_cpu_percent: of what the control group may use.
        throttled_percent: of the group's periods in which its CPU quota ran out.
        cpu_pressure_percent, memory_pressure_percent, io_pressure_percent: share of the time in which
            some task of the group waited for it.
        memory_percent: used of what limits it, at the most.
        memory_scope: 'cgroup' or 'host': what that limit is of.
        gpus: how many the run uses.
        gpu_percent: their mean utilisation.
        gpu_power_percent: power of the power limit, the highest of them.
        gpu_thermal_share, gpu_brake_share, gpu_power_share: share of the readings in which clocks were
            lowered for heat, by the power brake, for the power limit; of the GPU that suffers most.
        gpu_clock_share: clock of the maximum, of the slowest.
    """

    elapsed_s: float = 0.0
    steps: int = 0
    step_s: float | None = None
    wait_s: float | None = None
    whole_s: float = 0.0
    validation_s: float = 0.0
    checkpoint_s: float = 0.0
    cpu_percent: float | None = None
    busiest_core_percent: float | None = None
    run_cpu_percent: float | None = None
    group_cpu_percent: float | None = None
    throttled_percent: float | None = None
    cpu_pressure_percent: float | None = None
    memory_pressure_percent: float | None = None
    io_pressure_percent: float | None = None
    memory_percent: float | None = None
    memory_scope: str | None = None
    gpus: int = 0
    gpu_percent: float | None = None
    gpu_power_percent: float | None = None
    gpu_thermal_share: float | None = None
    gpu_brake_share: float | None = None
    gpu_power_share: float | None = None
    gpu_clock_share: float | None = None

    @property
    def wait_share(self) -> float | None:
        """Of a step, the part that it waits for its data, 0..1."""
        if self.step_s is None or self.wait_s is None or self.step_s <= 0:
            return None
        return min(1.0, self.wait_s / self.step_s)


@dataclass(slots=True)
class _Mean:
    n: int = 0
    total: float = 0.0
    most: float = -math.inf

    def add(self, value: float, n: int = 1) -> None:
        self.n += n
        self.total += value * n
        self.most = max(self.most, value)

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None


# Name of a figure in the record, and of the fact that is its mean.
_MEANS = {
    "cpu_utilization": "cpu_percent",
    "core_max_utilization": "busiest_core_percent",
    "run_cpu": "run_cpu_percent",
    "cgroup_cpu_utilization": "group_cpu_percent",
    "cgroup_cpu_throttled": "throttled_percent",
    "cgroup_cpu_pressure": "cpu_pressure_percent",
    "cgroup_memory_pressure": "memory_pressure_percent",
    "cgroup_io_pressure": "io_pressure_percent",
}
_MEMORY = frozenset({"memory_available", "memory_total", "cgroup_memory_limit_used", "cgroup_memory_limit"})
_GPU = frozenset(
    {
        *("gpu_utilization", "gpu_power", "gpu_power_limit", "gpu_sm_clock", "gpu_sm_clock_max"),
        *("gpu_throttle_reasons", "gpu_run_memory_used"),
    }
)
NAMES = frozenset(_MEANS) | _MEMORY | _GPU


@dataclass
class _GPUFigures:
    means: dict[str, _Mean] = field(default_factory=dict)
    throttled: dict[int, _Mean] = field(default_factory=dict)

    def add(self, name: str, value: float, n: int) -> None:
        self.means.setdefault(name, _Mean()).add(value, n)
        if name == "gpu_throttle_reasons":
            for bits in (_THERMAL_BITS, _BRAKE_BITS, _POWER_BITS):
                self.throttled.setdefault(bits, _Mean()).add(float(bool(int(value) & bits)), n)

    def mean(self, name: str) -> float | None:
        found = self.means.get(name)
        return None if found is None else found.mean

    def share(self, bits: int) -> float | None:
        found = self.throttled.get(bits)
        return None if found is None else found.mean

    def ratio(self, name: str, limit: str) -> float | None:
        value, most = self.mean(name), self.mean(limit)
        return None if value is None or not most else value / most

    @property
    def is_of_run(self) -> bool:
        """Whether the run uses it; if the driver does not list processes, every GPU that is busy counts."""
        own = self.means.get("gpu_run_memory_used")
        if own is not None:
            return own.most > 0
        return (self.mean("gpu_utilization") or 0) > 0


class Stretch:
    """Adds up what a run does. Readings of other machines are left out.

    Args:
        server: whose readings count.
        first_step: of the launch, from which the warm-up counts; None: the first that is added.

    Attributes:
        first_step: as the argument.
    """

    def __init__(self, server: str = "localhost", first_step: int | None = None) -> None:
        self._server = server
        self.first_step = first_step
        self._means: dict[str, _Mean] = {}
        self._memory: dict[str, _Mean] = {}
        self._gpus: dict[str, _GPUFigures] = {}
        self._step, self._wait = _Mean(), _Mean()
        self._open: dict[str, float] = {}
        self._phases: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        self._closed_at = -math.inf
        self._since: float | None = None
        self._until: float | None = None

    def add_mark(self, mark: MarkRow) -> None:
        """Follow validations and saves. Marks come before the readings and windows of their time."""
        phase, _, edge = mark.kind.rpartition("_")
        if phase not in PHASES:
            return
        self._saw(mark.t)
        if edge == "begin":
            self._open.setdefault(phase, mark.t)
        elif edge == "end" and phase in self._open:
            self._phases[phase] += max(0.0, mark.t - self._open.pop(phase))
            self._closed_at = mark.t

    def add_window(self, window: StepWindow) -> None:
        """Add steps, without those of the warm-up."""
        self._saw(window.t, window.t + window.width)
        if window.n == 0 or window.step_mean is None:
            return
        # The mark of an end may be lost; steps show that it is over.
        for phase in [one for one, since in self._open.items() if window.t > since]:
            self.add_mark(MarkRow(window.launch, window.t, f"{phase}_end"))
        if self.first_step is None:
            self.first_step = window.first_step
        if window.first_step is not None and window.first_step < (self.first_step or 0) + WARM_UP_STEPS:
            return
        self._step.add(window.step_mean, window.n)
        if window.wait_mean is not None:
            self._wait.add(window.wait_mean, window.n)

    def add_readings(self, t: float, readings: Iterable[tuple[SeriesKey, float | None, int]]) -> None:
        """Add readings of one time: figure, value, and how many readings that is the mean of."""
        self._saw(t)
        if self._open or t <= self._closed_at:
            return
        for key, value, n in readings:
            if value is None or key.server != self._server:
                continue
            if key.name in _MEANS:
                self._means.setdefault(_MEANS[key.name], _Mean()).add(value, n)
            elif key.name in _MEMORY:
                self._memory.setdefault(key.name, _Mean()).add(value, n)
            elif key.name in _GPU:
                self._gpus.setdefault(key.device, _GPUFigures()).add(key.name, value, n)

    def following(self) -> "Stretch":
        """The stretch that begins now, in the phases that are open."""
        other = Stretch(self._server, self.first_step)
        other._open = {phase: max(since, self._until or since) for phase, since in self._open.items()}
        other._closed_at = self._closed_at
        return other

    def facts(self) -> Facts:
        """What it comes to."""
        phases = dict(self._phases)
        for phase, since in self._open.items():
            phases[phase] += max(0.0, (self._until or since) - since)
        means: dict[str, Any] = {name: one.mean for name, one in self._means.items()}
        elapsed_s = 0.0 if self._since is None or self._until is None else self._until - self._since
        return Facts(
            **means,
            elapsed_s=elapsed_s,
            whole_s=elapsed_s,
            steps=self._step.n,
            step_s=self._step.mean,
            wait_s=self._wait.mean,
            validation_s=phases["validation"],
            checkpoint_s=phases["checkpoint"],
            **self._memory_facts(),
            **self._gpu_facts(),
        )

    def _saw(self, since: float, until: float | None = None) -> None:
        self._since = since if self._since is None else min(self._since, since)
        self._until = max(self._until or -math.inf, since if until is None else until)

    def _memory_facts(self) -> dict[str, Any]:
        """How near the tighter of both limits is."""
        found: list[tuple[float, str]] = []
        used, limit = self._memory.get("cgroup_memory_limit_used"), self._memory.get("cgroup_memory_limit")
        if used is not None and limit is not None and limit.most > 0:
            found.append((100 * used.most / limit.most, "cgroup"))
        available, total = self._memory.get("memory_available"), self._memory.get("memory_total")
        if available is not None and total is not None and available.mean is not None and total.most > 0:
            found.append((100 * (1 - available.mean / total.most), "host"))
        percent, scope = max(found, default=(None, None))
        return {"memory_percent": percent, "memory_scope": scope}

    def _gpu_facts(self) -> dict[str, Any]:
        used = [one for one in self._gpus.values() if one.is_of_run]
        busy = [one for one in (gpu.mean("gpu_utilization") for gpu in used) if one is not None]
        power = [
            one for one in (gpu.ratio("gpu_power", "gpu_power_limit") for gpu in used) if one is not None
        ]
        clocks = [
            one for one in (gpu.ratio("gpu_sm_clock", "gpu_sm_clock_max") for gpu in used) if one is not None
        ]
        return {
            "gpus": len(used),
            "gpu_percent": sum(busy) / len(busy) if busy else None,
            "gpu_power_percent": 100 * max(power) if power else None,
            "gpu_thermal_share": _most(gpu.share(_THERMAL_BITS) for gpu in used),
            "gpu_brake_share": _most(gpu.share(_BRAKE_BITS) for gpu in used),
            "gpu_power_share": _most(gpu.share(_POWER_BITS) for gpu in used),
            "gpu_clock_share": min(clocks, default=None),
        }


def _most(shares: Iterable[float | None]) -> float | None:
    return max((one for one in shares if one is not None), default=None)
