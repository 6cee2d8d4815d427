"""What is known of a range of time: of a run from its record, of servers and GPUs from what was kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pylon.recorder.history import (
    AlertRow,
    History,
    MarkRow,
    SeriesKey,
    StepWindow,
    VerdictRow,
    detail_of,
    open_history,
)
from pylon.recorder.report.words import verdict_title
from pylon.views.terminal.charts import Series

Trail = Callable[[str, str, str], tuple[list[float], list[float | None]]]
Timed = TypeVar("Timed", StepWindow, MarkRow, VerdictRow)
_POINTS = 600
_OF_RUN = (
    ("gpu_utilization", "GPU"), ("gpu_memory_used", "GPU memory"), ("cpu_utilization", "CPU"),
    ("run_memory", "Memory of the run"), ("memory_used", "Memory"), ("gpu_temperature", "GPU temperature"),
)  # fmt: skip
_OF_SERVER = (
    ("cpu_utilization", "CPU", "percent"), ("memory_used", "Memory", "bytes"),
    ("net_received", "Net in", "bytes_per_second"), ("net_sent", "Net out", "bytes_per_second"),
    ("disk_read", "Disk read", "bytes_per_second"), ("disk_write", "Disk write", "bytes_per_second"),
)  # fmt: skip
_OF_GPU = (
    ("gpu_utilization", "Utilization", "percent"), ("gpu_memory_used", "Memory", "bytes"),
    ("gpu_temperature", "Temperature", "celsius"), ("gpu_power", "Power", "watts"),
)  # fmt: skip
# As they are on the line of marks.
_LETTERS = {"epoch": "E", "validation_begin": "V", "checkpoint_end": "C"}
# A mark of these kinds is worth a line; there is one of the others for each step or epoch as well.
_MARKS = ("epoch", "validation_begin", "validation_end", "checkpoint_begin", "checkpoint_end", "score")


@dataclass(frozen=True)
class Past:
    """A range of time.

    Attributes:
        first, last: of all that is known.
        series: figures of the range.
        windows: steps of the range.
        marks, alerts, verdicts: of the whole time.
        problem: why there is nothing, in words.
    """

    first: float = 0.0
    last: float = 0.0
    series: Sequence[Series] = ()
    windows: Sequence[StepWindow] = ()
    marks: Sequence[MarkRow] = ()
    alerts: Sequence[AlertRow] = ()
    verdicts: Sequence[VerdictRow] = field(default=())
    problem: str = ""

    def mark_line(self, since: float, until: float, width: int) -> str:
        """Marks over time, each as a letter; of several in one place, the first of `_LETTERS`."""
        found = [" "] * width
        for kind, letter in reversed(_LETTERS.items()):
            for mark in self.marks:
                if mark.kind == kind and since <= mark.t <= until:
                    found[min(width - 1, int((mark.t - since) / (until - since) * width))] = letter
        for alert in self.alerts:
            if since <= alert.since <= until:
                found[min(width - 1, int((alert.since - since) / (until - since) * width))] = "!"
        return "".join(found)

    def facts(self, t: float) -> list[str]:
        """What was so at a time: step, marks, verdict and alerts."""
        found = []
        window = _newest(self.windows, t)
        if window is not None:
            found.append(f"epoch {_or_unknown(window.epoch)}, step {_or_unknown(window.last_step)}")
        mark = _newest(self.marks, t)
        if mark is not None:
            found.append(f"last mark: {_mark_text(mark)} {t - mark.t:.0f} s before")
        verdict = _newest(self.verdicts, t)
        if verdict is not None:
            found.append(f"verdict: {verdict_title(verdict.name)}")
        holding = [one for one in self.alerts if one.since <= t and (one.until is None or one.until > t)]
        found += [f"! {one.severity}: {one.text}" for one in holding]
        return found


def _newest(rows: Sequence[Timed], t: float) -> Timed | None:
    return next((row for row in reversed(rows) if row.t <= t), None)


def _or_unknown(value: int | None) -> str:
    return "?" if value is None else str(value)


def _mark_text(mark: MarkRow) -> str:
    detail = detail_of(mark)
    named = detail.get("epoch", detail.get("value"))
    return mark.kind.replace("_", " ") + (f" {named}" if isinstance(named, int | float) else "")


def past_of_run(path: Path, launch: int, since: float | None, until: float | None) -> Past:
    """What a record knows.

    Args:
        path: of the record.
        launch: its number.
        since, until: the range of the figures; None: all.

    Raises:
        HistoryError: it cannot be read.
    """
    with open_history(path) as history:
        began = next((one.began_at for one in history.launches() if one.id == launch), None)
        whole = history.range()
        if whole is None or began is None:
            return Past(problem="nothing is recorded yet")
        later = [one.began_at for one in history.launches() if (one.id or 0) > launch]
        first, last = began, min([whole[1], *later])
        start, end = first if since is None else since, last if until is None else until
        windows = history.windows(launch, start, end + 1e-3, _POINTS)
        return Past(
            first,
            last,
            (*_training(windows), *_hardware(history, start, end)),
            windows,
            history.marks(launch, _MARKS),
            history.alerts(launch),
            history.verdicts(launch),
        )


def _training(windows: Sequence[StepWindow]) -> list[Series]:
    """The middle of each window: half of a window's steps are after it begins."""
    times = [one.t + one.width / 2 for one in windows]
    waits = [
        None if one.wait_mean is None or not one.step_mean else 100 * one.wait_mean / one.step_mean
        for one in windows
    ]
    return [
        Series("Loss", "", times, [one.loss_mean for one in windows]),
        Series("Step time", "seconds", times, [one.step_mean for one in windows], low=0.0),
        Series("Wait for data", "percent", times, waits, low=0.0, high=100.0),
    ]


def _hardware(history: History, since: float, until: float) -> list[Series]:
    keys = history.series()
    found = []
    for name, title in _OF_RUN:
        of_name = [key for key in keys if key.name == name]
        for number, key in enumerate(of_name):
            where = f" {number}" if len(of_name) > 1 else ""
            found.append(_recorded(history, key, title + where, since, until))
    return found


def _recorded(history: History, key: SeriesKey, title: str, since: float, until: float) -> Series:
    samples = history.samples(key, since, until + 1e-3, _POINTS)
    reasons = sorted({one.reason for one in history.gaps(key, since, until)})
    times = [one.t + one.width / 2 for one in samples]
    values = [one.mean for one in samples]
    return Series(title, key.unit, times, values, *_ends(key.unit), ", ".join(reasons))


def _ends(unit: str) -> tuple[float | None, float | None]:
    return (0.0, 100.0 if unit == "percent" else None)


def past_of_server(trail: Trail, server: str, device: str = "") -> Past:
    """What was kept of a server, or of one of its GPUs."""
    series = []
    for name, title, unit in _OF_GPU if device else _OF_SERVER:
        times, values = trail(server, name, device)
        series.append(Series(title, unit, times, values, *_ends(unit)))
    at: Sequence[float] = next((one.times for one in series if one.times), [0.0])
    return Past(at[0], at[-1], tuple(series))
