"""Charts of the recorded hardware."""

from collections.abc import Iterable, Sequence

from pylon.recorder.history import History, SeriesKey
from pylon.recorder.report.charts.grid import Grid, Level, on_grid
from pylon.recorder.report.charts.line import GREY, Chart, Line
from pylon.recorder.report.charts.specs import ChartSpec, assigned, device_names, is_limit, line_names
from pylon.recorder.report.words import absence_text

_MOST_GAPS = 200


def hardware_charts(history: History, grids: Sequence[Grid]) -> list[Chart]:
    """One chart for each kind of figure, with a line for each device."""
    keys = history.series()
    devices = device_names(keys)
    charts = []
    for spec, members in assigned(keys):
        names = line_names(members, devices)
        lines = [_line(history, key, name, grids) for key, name in zip(members, names, strict=True)]
        charts.append(_chart(spec, members, _with_one_limit(lines)))
    return charts


def _chart(spec: ChartSpec, members: Sequence[SeriesKey], lines: Iterable[Line]) -> Chart:
    unit = members[0].unit
    return Chart(spec.id, spec.title, unit, tuple(lines), top=spec.top, zero=unit not in {"celsius", "hertz"})


def _line(history: History, key: SeriesKey, name: str, grids: Sequence[Grid]) -> Line:
    levels = [on_grid(grid, history.samples(key, grid.start, grid.end, grid.count)) for grid in grids]
    begin, end = grids[0].start, grids[0].end
    gaps = [
        (max(gap.t, begin), end if gap.until is None else gap.until, absence_text(gap.reason))
        for gap in history.gaps(key, begin, end)
    ]
    # The longest explain most of what is missing.
    longest = sorted(gaps, key=lambda gap: gap[0] - gap[1])[:_MOST_GAPS]
    kind = "limit" if is_limit(key) else "value"
    return Line(name, tuple(levels), kind=kind, gaps=tuple(sorted(longest)))


def _with_one_limit(lines: list[Line]) -> list[Line]:
    """The lines, with one limit where those of all devices are the same."""
    limits = [line for line in lines if line.kind == "limit"]
    if len(limits) < 2 or len({_extent(line.levels[0]) for line in limits}) > 1:
        return lines
    others = [line for line in lines if line.kind != "limit"]
    words = limits[0].name.split()
    shared = Line(f"{words[-1]} of each", limits[0].levels, kind="limit", gaps=limits[0].gaps, color=GREY)
    return [*others, shared]


def _extent(level: Level | None) -> tuple[float, float] | None:
    known = [] if level is None else [value for value in level.mean if value == value]  # noqa: PLR0124 - NaN
    return (min(known), max(known)) if known else None
