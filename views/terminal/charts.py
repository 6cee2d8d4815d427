"""Lines over time, of Braille dots or of ASCII. Each column shows the least and the greatest of its time."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from pylon.views.terminal.columns import short
from pylon.views.terminal.text import fitted

AXIS = 8
# Bits of a Braille character: from the top down, left and right.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BRAILLE = 0x2800


class Series(NamedTuple):
    """A figure over time; None is a gap. `low` and `high` are the ends of the axis, if these are fixed."""

    title: str
    unit: str
    times: Sequence[float]
    values: Sequence[float | None]
    low: float | None = None
    high: float | None = None
    why: str = ""

    def at(self, t: float, within_s: float) -> float | None:
        """The newest value that is not after `t`, and not older than `within_s`."""
        found = None
        for time, value in zip(self.times, self.values, strict=True):
            if time > t:
                break
            found = value if t - time <= within_s else None
        return found


Span = tuple[float, float] | None


def spans(series: Series, since: float, until: float, columns: int) -> list[Span]:
    """The least and the greatest value of each column; None: it has none."""
    found: list[Span] = [None] * columns
    if until <= since or columns <= 0:
        return found
    for t, value in zip(series.times, series.values, strict=True):
        if value is None or not math.isfinite(value) or not since <= t <= until:
            continue
        place = min(columns - 1, int((t - since) / (until - since) * columns))
        before = found[place]
        found[place] = (value, value) if before is None else (min(before[0], value), max(before[1], value))
    return found


def chart(
    series: Series, since: float, until: float, size: tuple[int, int], *, ascii_only: bool = False,
    at: float | None = None,
) -> list[str]:  # fmt: skip
    """A figure as lines of text, with its axis; the first line is its title, its newest value and its range.

    Args:
        series: the figure.
        since, until: the range of time.
        size: columns and lines of all.
        ascii_only: draw with ASCII.
        at: the time that is looked at: it is marked, and the value is of that time.
    """
    width, height = size[0] - AXIS - 1, size[1] - 1
    if width < 4 or height < 1:
        return []
    dots = 1 if ascii_only else 2
    found = spans(series, since, until, width * dots)
    known = [one for one in found if one is not None]
    newest = series.at(until if at is None else at, max(10.0, 3 * (until - since) / max(1, width)))
    head = f"{series.title} {short(newest, series.unit)}"
    if not known:
        why = series.why or "nothing is known of this time"
        return [fitted(f"{head}  ({why})", size[0]), *(" " * size[0] for _ in range(height))]
    least, most = min(low for low, _ in known), max(high for _, high in known)
    head += f"  ({short(least, series.unit)} to {short(most, series.unit)})"
    low, high = _axis(series, least, most)
    draw = _ascii_rows if ascii_only else _braille_rows
    rows = draw(_joined(found), low, high, height)
    if at is not None and since <= at <= until:
        rows = _marked(rows, min(width - 1, int((at - since) / (until - since) * width)), ascii_only)
    labels = [""] * height
    labels[-1], labels[0] = short(low, series.unit), short(high, series.unit)
    bar = "|" if ascii_only else "│"
    return [
        fitted(head, size[0]),
        *(fitted(label, AXIS, right=True) + bar + row for label, row in zip(labels, rows, strict=True)),
    ]


def _axis(series: Series, least: float, most: float) -> tuple[float, float]:
    low = least if series.low is None else min(series.low, least)
    high = most if series.high is None else max(series.high, most)
    return (low, high) if high > low else (low, low + (abs(low) * 0.1 or 1.0))


def _joined(found: Sequence[Span]) -> list[Span]:
    """Steps between neighbours are drawn; what is between rare points is bridged, a gap is not."""
    places = [place for place, one in enumerate(found) if one is not None]
    joined = list(found)
    usual = sorted(b - a for a, b in itertools.pairwise(places))
    widest = 2 * usual[len(usual) // 2] if usual else 0
    for a, b in itertools.pairwise(places):
        first, second = found[a], found[b]
        if first is None or second is None or b - a > widest:
            continue
        start, end = sum(first) / 2, sum(second) / 2
        for place in range(a + 1, b):
            value = start + (end - start) * (place - a) / (b - a)
            joined[place] = (value, value)
    return joined


def _levels(one: tuple[float, float], low: float, high: float, count: int) -> range:
    """The lines that a column fills, counted from the top."""

    def place(value: float) -> int:
        return min(count - 1, max(0, round((high - value) / (high - low) * (count - 1))))

    return range(place(one[1]), place(one[0]) + 1)


def _braille_rows(found: Sequence[Span], low: float, high: float, height: int) -> list[str]:
    cells = [[0] * (len(found) // 2) for _ in range(height)]
    before: range | None = None
    for column, one in enumerate(found):
        levels = None if one is None else _levels(one, low, high, height * 4)
        if levels is not None:
            for level in _connected(before, levels):
                cells[level // 4][column // 2] |= _DOTS[level % 4][column % 2]
        before = levels
    return ["".join(chr(_BRAILLE + bits) if bits else " " for bits in row) for row in cells]


def _ascii_rows(found: Sequence[Span], low: float, high: float, height: int) -> list[str]:
    cells = [[" "] * len(found) for _ in range(height)]
    for column, one in enumerate(found):
        if one is None:
            continue
        levels = _levels(one, low, high, height)
        for level in levels:
            cells[level][column] = "*" if len(levels) == 1 else ":"
    return ["".join(row) for row in cells]


def _connected(before: range | None, levels: range) -> range:
    """Up or down to the column before, so that a line has no holes."""
    if before is None:
        return levels
    if before.start >= levels.stop:
        return range(levels.start, before.start)
    return range(before.stop, levels.stop) if before.stop <= levels.start else levels


def _marked(rows: list[str], place: int, ascii_only: bool) -> list[str]:
    mark = "|" if ascii_only else "│"
    return [row[:place] + (mark if row[place] == " " else row[place]) + row[place + 1 :] for row in rows]
