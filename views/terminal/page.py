"""The page of one server, GPU or run: its figures, and charts over the time that is looked at."""

import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pylon.monitor import printable
from pylon.recorder.history import HistoryError
from pylon.recorder.report.units import clock_text, duration_text, time_text
from pylon.views.terminal.charts import AXIS, chart
from pylon.views.terminal.figures import Facts
from pylon.views.terminal.listing import Cell, Line
from pylon.views.terminal.past import Past
from pylon.views.terminal.picture import Picture
from pylon.views.terminal.replay import Replay
from pylon.views.terminal.text import fitted

FactsOf = Callable[[Picture, int], Facts | None]
# Reads a range of time; None for its begin and end: all.
Reader = Callable[[float | None, float | None], Past]

# Reading takes 5 % of a core at most.
_SHARE = 20
_CHART_HEIGHT, _HIGHEST_CHART = 7, 16
_TWO_COLUMNS_FROM = 140


@dataclass
class Page:
    """One page.

    Args:
        title: its head.
        facts: lines of what is so now; None: it is not there any more.
        read: its past.
        slow: whether that takes long, so that it is read in the background.
    """

    title: str
    facts: FactsOf
    read: Reader
    slow: bool = False
    replay: Replay = field(default_factory=Replay)
    past: Past = field(default_factory=Past)
    top: int = 0
    problem: str = ""
    _height: int = 0
    _length: int = 0
    _read_for: tuple[float | None, float | None] | None = None
    _due_at_s: float = 0.0

    def wanted(self) -> tuple[float | None, float | None]:
        """The range of time to read."""
        return (None, None) if self.replay.share == 1.0 else self.replay.range

    def is_due(self) -> bool:
        """Whether what is shown is of another range than what was read, or what goes on was read long ago."""
        if self.replay.at is None:
            return time.monotonic() >= self._due_at_s
        return self._read_for != self.wanted()

    def read_soon(self) -> None:
        """The user wants another range: what was read is not waited for."""
        self._due_at_s = 0.0

    def refresh(self) -> None:
        """Read the range that is wanted and show it; a long record is read less often than a short one."""
        began_s, wanted = time.monotonic(), self.wanted()
        try:
            past = self.read(*wanted)
        except HistoryError as error:
            self.problem = str(error)
        else:
            self._take(past, wanted)
        now_s = time.monotonic()
        self._due_at_s = now_s + _SHARE * (now_s - began_s)

    def _take(self, past: Past, wanted: tuple[float | None, float | None]) -> None:
        self._read_for = wanted
        self.past, self.problem = past, past.problem
        if not past.problem:
            self.replay.know(past.first, past.last)

    def scroll(self, lines: int) -> None:
        """Up or down."""
        self.top = max(0, min(self.top + lines, self._length - self._height))

    def lines(self, picture: Picture, width: int, height: int, *, ascii_only: bool) -> list[Line]:
        """All of the page."""
        above, below = self.facts(picture, width) or Facts(["It is not there any more."], [])
        if self.replay.at is not None:
            above = [f"At {time_text(self.replay.at)}, as it was then:", *self.past.facts(self.replay.at)]
        if self.problem:
            above = [*textwrap.wrap(f"! {printable(self.problem)}", max(1, width)), *above]
        charts = self._charts(width, height - len(above), ascii_only)
        body = [*map(printable, above), *charts, *map(printable, below)]
        self._height, self._length = height - 2, len(body)
        self.scroll(0)
        more = f"  ({self.top + 1}-{min(len(body), self.top + height - 2)} of {len(body)} lines)"
        head = printable(self.title) + (more if len(body) > height - 2 else "")
        shown = body[self.top : self.top + height - 2]
        return [
            (Cell(fitted(head, width), "head"),),
            *((Cell(fitted(line, width), "bad" if line.startswith("!") else ""),) for line in shown),
            *(() for _ in range(height - 2 - len(shown))),
            (Cell(fitted(self._time_line(), width), "dim"),),
        ]

    def _time_line(self) -> str:
        replay = self.replay
        if not replay.last:
            return "reading ..."
        length = duration_text(replay.last - replay.first)
        whole = f"{clock_text(replay.first)} to {clock_text(replay.last)}, {length}"
        state = "now" if replay.at is None else "paused" if not replay.speed else "playing"
        part = "" if replay.share == 1.0 else f"1/{round(1 / replay.share)} of "
        return f"[{state}] {time_text(replay.now)[:19]}  speed {replay.chosen_speed:.0f}x  {part}{whole}"

    def _charts(self, width: int, height: int, ascii_only: bool) -> list[str]:
        since, until = self.replay.range
        columns = 2 if width >= _TWO_COLUMNS_FROM else 1
        wide = (width - 2 * (columns - 1)) // columns
        rows = -(-len(self.past.series) // columns)
        each = max(_CHART_HEIGHT, min(_HIGHEST_CHART, (height - 4) // max(1, rows) - 1))
        drawn = [
            chart(one, since, until, (wide, each), ascii_only=ascii_only, at=self.replay.at)
            for one in self.past.series
        ]
        lines: list[str] = []
        for place in range(0, len(drawn), columns):
            row = drawn[place : place + columns]
            lines += ["  ".join(parts) for parts in zip(*row, strict=True)] + [""]
        if not drawn:
            return ["No figures over time yet."]
        plot = wide - AXIS - 1
        ends = f"{clock_text(since)}{' ' * max(1, plot - 16)}{clock_text(until)}"
        head = [" " * (AXIS + 1) + ends]
        if self.past.marks or self.past.alerts:
            head.append(fitted("marks", AXIS + 1) + self.past.mark_line(since, until, plot))
            head[0] = fitted("E V C !", AXIS + 1) + ends
        return [*head, *lines]
