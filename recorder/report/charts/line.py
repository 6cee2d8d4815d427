"""The charts of a page or a picture, as data."""

from dataclasses import dataclass, field
from typing import Any

from pylon.recorder.report.charts.grid import Grid, Level, packed_level

# More would be a tangle; a note names how many are left out.
MOST_LINES = 16
COLORS = 8
GREY, RED = -1, -2
_DASHES = ("", "6 3", "2 3", "8 3 2 3")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        name: in the legend.
        levels: its values on each grid of the view; None: it has none there. Empty for `points`.
        points: single values by their place, in place of levels.
        kind: 'value'; 'limit', which is drawn with dashes; 'dots', which nothing connects.
        gaps: why there is no value: from, until, reason.
        exact: whether 16 bits are too few, as for values of many magnitudes.
        color: None: by its place in the chart; `GREY`, `RED`, or a number, from `COLORS` on with dashes.
    """

    name: str
    levels: tuple[Level | None, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    kind: str = "value"
    gaps: tuple[tuple[float, float, str], ...] = ()
    exact: bool = False
    color: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it would be seen."""
        return not self.points and all(level is None or level.is_empty for level in self.levels)

    def as_record(self, place: int) -> dict[str, Any]:
        """As the page takes it; `place` is its number in the chart."""
        number = place if self.color is None else self.color
        record: dict[str, Any] = {"name": self.name, "kind": self.kind, "color": number % COLORS}
        if number < 0:
            record["color"] = COLORS - 1 - number
        elif dash := _DASHES[number // COLORS % len(_DASHES)]:
            record["dash"] = dash
        if self.points:
            record["points"] = [[place, value] for place, value in self.points]
        else:
            record["levels"] = [packed_level(level, exact=self.exact) for level in self.levels]
        if self.gaps:
            record["gaps"] = [list(gap) for gap in self.gaps]
        return record


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines of one unit over one axis.

    Attributes:
        id: for links; letters, digits and '-'.
        title, unit: of the values.
        lines: see there.
        zero: whether the axis begins at 0.
        top: the axis reaches at least so far.
        logs: whether the reader can choose a logarithmic axis.
        note: under the title.
    """

    id: str
    title: str
    unit: str
    lines: tuple[Line, ...]
    zero: bool = True
    top: float | None = None
    logs: bool = False
    note: str = ""

    def as_record(self) -> dict[str, Any]:
        """As the page takes it."""
        shown = [line for line in self.lines if not line.is_empty or line.gaps]
        note = self.note
        if len(shown) > MOST_LINES:
            note = f"{note} The first {MOST_LINES} of {len(shown)} lines.".lstrip()
        return {
            "id": self.id,
            "title": self.title,
            "unit": self.unit,
            "note": note,
            "zero": self.zero,
            "top": self.top,
            "logs": self.logs,
            "log": False,
            "lines": [line.as_record(place) for place, line in enumerate(shown[:MOST_LINES])],
        }


@dataclass(frozen=True, slots=True)
class Event:
    """Something in the strip of events: a span, or a moment if `until` is `at`.

    Attributes:
        kind: names its colours: epoch, validation, checkpoint, alert, verdict, death, end or other.
        text: what it is.
    """

    at: float
    until: float
    kind: str
    text: str

    def as_record(self) -> dict[str, Any]:
        """As the page takes it."""
        return {"at": self.at, "until": self.until, "kind": self.kind, "text": self.text}


@dataclass(frozen=True, slots=True)
class View:
    """All charts over one axis.

    Attributes:
        kind: of the axis: 'time' (Unix time), 'elapsed' (s), 'step' or 'epoch'.
        grids: the first covers everything, each further one is finer and ends with it.
        charts: from the top down.
        lanes: of the strip of events, by name.
    """

    kind: str
    grids: tuple[Grid, ...]
    charts: tuple[Chart, ...]
    lanes: dict[str, tuple[Event, ...]] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """As the page takes it; charts without any value are left out."""
        lanes = [
            {"name": name, "items": [one.as_record() for one in events]}
            for name, events in self.lanes.items()
        ]
        drawn = {"epoch", "validation", "checkpoint", "alert", "death", "end"}
        marks = [
            {"at": one.at, "until": one.until, "kind": one.kind}
            for events in self.lanes.values()
            for one in events
            if one.kind in drawn
        ]
        # An epoch is a line at its begin: as a span it would shade everything.
        for mark in marks:
            if mark["kind"] == "epoch":
                mark["until"] = mark["at"]
        charts = [chart.as_record() for chart in self.charts]
        return {
            "kind": self.kind,
            "grids": [grid.as_record() for grid in self.grids],
            "charts": [chart for chart in charts if chart["lines"]],
            "lanes": [lane for lane in lanes if lane["items"]],
            "marks": marks,
        }
