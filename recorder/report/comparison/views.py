"""Curves of several runs over each other: by step, by epoch, and by running time."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from pylon.recorder.history import Sample, StepWindow, detail_of
from pylon.recorder.report.charts.grid import NAN, Grid, Level, on_grid
from pylon.recorder.report.charts.line import COLORS, Chart, Line, View
from pylon.recorder.report.charts.training import (
    loss_samples,
    numbers_of,
    step_samples,
    wait_samples,
)
from pylon.recorder.report.comparison.contender import Contender
from pylon.recorder.report.comparison.groups import Group, groups_of

_BUCKETS = 600
_BAND = "The band of a mean over seeds is from the least to the greatest of them."
# Id, title, unit, and what it shows of windows.
_ChartOfWindows = tuple[str, str, str, Callable[[Sequence[StepWindow]], list[Sample]]]
_OF_WINDOWS: tuple[_ChartOfWindows, ...] = (
    ("loss", "Training loss", "", loss_samples),
    ("steps", "Step time", "seconds", step_samples),
    ("wait", "Wait for data", "seconds", wait_samples),
)


def comparison_views(contenders: Sequence[Contender]) -> list[View]:
    """A view for each axis that the runs have."""
    groups = groups_of(contenders)
    found = []
    for kind, place in (("step", _by_step), ("epoch", _by_epoch), ("elapsed", _by_time)):
        windows = [place(contender.windows) for contender in contenders]
        end = max((w.t + w.width for ws in windows for w in ws), default=0.0)
        if kind == "elapsed":
            end = max(end, *(contender.elapsed_s for contender in contenders))
        if end <= 0:
            continue
        count = max(1, round(end)) if end < _BUCKETS and kind != "elapsed" else _BUCKETS
        grid = Grid(0.0, end / count, count)
        charts = [_of_windows(grid, groups, windows, one) for one in _OF_WINDOWS]
        charts[1:1] = _score_charts(kind, grid, groups, contenders)
        if kind == "elapsed":
            charts += _usage_charts(grid, groups, contenders)
        if any(len(group.members) > 1 for group in groups):
            charts = [dataclasses.replace(one, note=f"{_BAND} {one.note}".strip()) for one in charts]
        found.append(View(kind, (grid,), tuple(charts)))
    return found


def _by_time(windows: Sequence[StepWindow]) -> list[StepWindow]:
    return list(windows)


def _by_step(windows: Sequence[StepWindow]) -> list[StepWindow]:
    return [
        _moved(w, float(w.first_step), float(w.last_step - w.first_step + 1))
        for w in windows
        if w.first_step is not None and w.last_step is not None
    ]


def _by_epoch(windows: Sequence[StepWindow]) -> list[StepWindow]:
    return [_moved(w, float(w.epoch), 1.0) for w in windows if w.epoch is not None]


def _moved(window: StepWindow, t: float, width: float) -> StepWindow:
    values = {name: getattr(window, name) for name in StepWindow.__slots__}
    return StepWindow(**{**values, "t": t, "width": width})


def _of_windows(
    grid: Grid, groups: Sequence[Group], windows: Sequence[Sequence[StepWindow]], chart: _ChartOfWindows
) -> Chart:
    id_, title, unit, samples = chart
    levels = [on_grid(grid, sorted(samples(ws))) for ws in windows]
    lines = [_group_line(group, levels, place, exact=id_ == "loss") for place, group in enumerate(groups)]
    return Chart(id_, title, unit, tuple(lines), zero=id_ != "loss", logs=True)


def _group_line(group: Group, levels: Sequence[Level], place: int, *, exact: bool = False) -> Line:
    """The run itself, or the mean of its repetitions with a band from the least to the greatest of them."""
    own = [levels[number] for number in group.members]
    level = own[0] if len(own) == 1 else _mean_of(own)
    return Line(group.name, (level,), exact=exact, color=place)


def _mean_of(levels: Sequence[Level]) -> Level:
    """Where at least one repetition has a value: least, mean and greatest of their means."""
    columns = [[v for v in column if v == v] for column in zip(*(one.mean for one in levels), strict=True)]  # noqa: PLR0124
    return Level(
        [min(known, default=NAN) for known in columns],
        [sum(known) / len(known) if known else NAN for known in columns],
        [max(known, default=NAN) for known in columns],
    )


def _score_charts(
    kind: str, grid: Grid, groups: Sequence[Group], contenders: Sequence[Contender]
) -> list[Chart]:
    points = [dict(_scores(kind, contender)) for contender in contenders]
    names = dict.fromkeys(name for one in points for name in one)
    charts = []
    for number, name in enumerate(names):
        lines = []
        for place, group in enumerate(groups):
            if kind == "epoch":
                levels = [_at_points(grid, one.get(name, [])) for one in points]
                lines.append(_group_line(group, levels, place, exact=True))
                continue
            for turn, member in enumerate(group.members):
                run = (
                    group.name
                    if len(group.members) == 1
                    else f"{member + 1} {contenders[member].story.title}"
                )
                lines.append(
                    Line(
                        run, points=tuple(points[member].get(name, [])), color=place % COLORS + COLORS * turn
                    )
                )
        charts.append(Chart(f"score-{number}", f"Validation: {name}", "", tuple(lines), zero=False))
    return charts


def _scores(kind: str, contender: Contender) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """The scores of a run by name, at their places on the axis."""
    by_name: dict[str, list[tuple[float, float]]] = {}
    for mark in contender.marks:
        if mark.kind != "score":
            continue
        detail = detail_of(mark)
        before = [w for w in contender.windows if w.t <= mark.t]
        last = before[-1] if before else None
        epoch = detail.get("epoch", None if last is None else last.epoch)
        step = detail.get("step", None if last is None else last.last_step)
        place = {"elapsed": mark.t, "epoch": epoch, "step": step}[kind]
        if isinstance(place, int | float):
            for name, value in numbers_of(detail, "score").items():
                by_name.setdefault(name, []).append((float(place), value))
    yield from by_name.items()


def _at_points(grid: Grid, points: Sequence[tuple[float, float]]) -> Level:
    return on_grid(grid, sorted(Sample(place, grid.width, 1, value, value, value) for place, value in points))


def _usage_charts(grid: Grid, groups: Sequence[Group], contenders: Sequence[Contender]) -> list[Chart]:
    charts = []
    titles = {id_: parts[:2] for one in contenders for id_, parts in one.usage.items()}
    for id_, (title, unit) in titles.items():
        levels = [on_grid(grid, one.usage[id_][2] if id_ in one.usage else ()) for one in contenders]
        lines = [_group_line(group, levels, place) for place, group in enumerate(groups)]
        charts.append(Chart(id_, title, unit, tuple(lines), note="Mean over all devices of a run."))
    return charts
