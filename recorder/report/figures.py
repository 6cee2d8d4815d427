"""The last minutes of a launch in figures: what changed before the end."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pylon.recorder.history import History, Sample, SeriesKey, StepWindow
from pylon.recorder.report.charts.specs import ChartSpec, assigned, device_names, is_limit, line_names
from pylon.recorder.report.charts.training import loss_samples, step_samples, wait_samples
from pylon.recorder.report.words import absence_text

LAST_S = 60.0
BEFORE_S = 600.0
# Of these a person wants the end first; the others are in the page.
_SHOWN = (
    "gpu-use",
    "gpu-memory",
    "gpu-temperature",
    "cpu",
    "cpu-run",
    "memory-run",
    "memory",
    "pressure",
    "disk-space",
)
_MOST = 24


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure at the end of a launch.

    Attributes:
        name: what it is.
        unit: of its values.
        before: mean of the ten minutes before the last one; None: not known.
        last: of the last minute; None: not known.
        newest: the last value; None: not known, or there is none any more.
        reason: why there is none.
    """

    name: str
    unit: str
    before: float | None
    last: Sample | None
    newest: float | None
    reason: str = ""

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        last = (
            None
            if self.last is None
            else {"min": self.last.min, "mean": self.last.mean, "max": self.last.max}
        )
        known = {"name": self.name, "unit": self.unit, "before": self.before, "last_minute": last}
        return {**known, "newest": self.newest, "reason": self.reason or None}


def training_figures(windows: Callable[[float, float], Sequence[StepWindow]], end: float) -> list[Figure]:
    """Loss, step time and data wait.

    Args:
        windows: gives the step windows between two times.
        end: of the launch.
    """
    before, last = windows(end - LAST_S - BEFORE_S, end - LAST_S), windows(end - LAST_S, end)
    parts = (
        ("loss", "", loss_samples),
        ("step time", "seconds", step_samples),
        ("data wait", "seconds", wait_samples),
    )
    return [
        _figure(name, unit, samples(before), samples(last), "no step in the last minute")
        for name, unit, samples in parts
        if samples(before) or samples(last)
    ]


def hardware_figures(history: History, end: float) -> list[Figure]:
    """The most important figures of the hardware; GPUs beyond the second are summed up."""
    keys = history.series()
    devices = device_names(keys)
    found: list[Figure] = []
    by_id = {spec.id: (spec, members) for spec, members in assigned(keys)}
    for chosen in _SHOWN:
        if chosen not in by_id:
            continue
        spec, members = by_id[chosen]
        members = [key for key in members if not (spec.device and is_limit(key))]
        names = line_names(members, devices)
        figures = [
            _of_series(history, key, _named(spec, name, len(members)), end)
            for key, name in zip(members, names, strict=True)
        ]
        found += _summed_up(spec.title, figures) if spec.device and len(members) > 2 else figures
    # A machine without swap has nothing to show of it.
    return [one for one in found if not ("swap" in one.name and one.newest == 0)][:_MOST]


def _named(spec: ChartSpec, name: str, members: int) -> str:
    if spec.device:
        return f"{name} {spec.short}"
    return spec.short if members == 1 else f"{spec.short}: {name.removeprefix('run ')}"


def _of_series(history: History, key: SeriesKey, name: str, end: float) -> Figure:
    before = history.samples(key, end - LAST_S - BEFORE_S, end - LAST_S, 60)
    last = history.samples(key, end - LAST_S, end + 1.0, 60)
    gaps = history.gaps(key, end - LAST_S, end + 1.0)
    # A value from before a gap that lasts is not the newest state.
    missing = bool(gaps) and (gaps[-1].until is None or gaps[-1].until >= end)
    reason = absence_text(gaps[-1].reason) if gaps else "no sample in the last minute"
    return _figure(name, key.unit, before, last, reason, missing=missing)


def _figure(
    name: str,
    unit: str,
    before: Sequence[Sample],
    last: Sequence[Sample],
    reason: str,
    *,
    missing: bool = False,
) -> Figure:
    earlier, late = merged(before), merged(last)
    newest = last[-1].mean if last and not missing else None
    return Figure(
        name, unit, earlier.mean if earlier else None, late, newest, "" if newest is not None else reason
    )


def _summed_up(title: str, figures: Sequence[Figure]) -> list[Figure]:
    """One figure for all devices: least, mean and greatest over them."""
    last = merged([one.last for one in figures if one.last is not None and one.newest is not None])
    before = [one.before for one in figures if one.before is not None]
    newest = [one.newest for one in figures if one.newest is not None]
    known = len(newest)
    name = f"{title}: mean of {known}" + (f" of {len(figures)}" if known < len(figures) else "")
    reason = "" if known else figures[0].reason
    return [Figure(name, figures[0].unit, _mean(before), last, _mean(newest), reason)]


def merged(samples: Iterable[Sample]) -> Sample | None:
    """All of them as one; None if there are none."""
    known = list(samples)
    if not known:
        return None
    weight = sum(max(one.n, 1) for one in known)
    mean = sum(one.mean * max(one.n, 1) for one in known) / weight
    low, high = min(one.min for one in known), max(one.max for one in known)
    width = known[-1].t + known[-1].width - known[0].t
    return Sample(known[0].t, width, weight, low, min(max(mean, low), high), high)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
