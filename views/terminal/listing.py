"""One list: which rows, in which order, with which columns, as lines of cells. It knows no terminal."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pylon.views.terminal.columns import Column
from pylon.views.terminal.filters import FilterError, Predicate, parse_filter
from pylon.views.terminal.text import fitted

_FLEXIBLE_AT_LEAST = 10
_WIDE = 140


class Cell(NamedTuple):
    """A part of a line: its text, and what it means: '', 'head', 'good', 'bad', 'dim'."""

    text: str
    kind: str = ""


Line = tuple[Cell, ...]


@dataclass
class Listing:
    """One list.

    Args:
        title: of the list.
        columns: those that it can show.
        key: what a row is known by, so that the cursor stays on it.
        bad: whether a row needs attention.
    """

    title: str
    columns: tuple[Column[Any], ...]
    key: Callable[[Any], object]
    bad: Callable[[Any], bool] = lambda _row: False
    rows: list[Any] = field(default_factory=list)
    total: int = 0
    filter_text: str = ""
    sort: str = ""
    reverse: bool = False
    hidden: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    shift: int = 0
    cursor: int = 0
    top: int = 0
    _fits: Predicate[Any] | None = None
    _cursor_key: object = None

    def filter_by(self, text: str) -> None:
        """Choose rows.

        Raises:
            FilterError: it cannot be read; the former filter stays.
        """
        self._fits = parse_filter(text, self.columns) if text.strip() else None
        self.filter_text = text.strip()

    def restore(self, text: str) -> str:
        """Choose rows by a filter of an earlier session; returns why that failed, or ''."""
        try:
            self.filter_by(text)
        except FilterError as error:
            return f"the saved filter {text!r} is left out: {error}"
        return ""

    def update(self, rows: Sequence[Any]) -> None:
        """Take the rows of a new picture."""
        self.total = len(rows)
        found = list(rows) if self._fits is None else [row for row in rows if self._fits(row)]
        column = next((one for one in self.columns if one.name == self.sort), None)
        if column is not None:
            found = _sorted(found, column, self.reverse)
        elif self.reverse:
            found.reverse()
        self.rows = found
        self.cursor = self._place_of_cursor()

    def _place_of_cursor(self) -> int:
        """Where the chosen row is now: also if others came or went above it."""
        there = self.cursor < len(self.rows)
        if there and self.key(self.rows[self.cursor]) == self._cursor_key:
            return self.cursor
        if self._cursor_key is not None:
            for place, row in enumerate(self.rows):
                if self.key(row) == self._cursor_key:
                    return place
        return max(0, min(self.cursor, len(self.rows) - 1))

    def move(self, to: int, height: int) -> None:
        """Put the cursor on the row of a place, and keep it in view."""
        self.cursor = max(0, min(to, len(self.rows) - 1))
        self._cursor_key = self.key(self.rows[self.cursor]) if self.rows else None
        self.scroll(height)

    def scroll(self, height: int) -> None:
        """Keep the cursor within the lines that are shown."""
        self.top = max(0, min(self.top, len(self.rows) - height))
        if self.cursor < self.top:
            self.top = self.cursor
        elif self.cursor >= self.top + height:
            self.top = self.cursor - height + 1

    @property
    def chosen(self) -> Any:  # noqa: ANN401 - a row of any list
        """The row under the cursor; None: the list is empty."""
        return self.rows[self.cursor] if self.rows else None

    def visible(self, width: int) -> list[tuple[Column[Any], int]]:
        """The columns that a line of `width` cells shows, and how wide each is."""
        wanted = [one for one in self.columns if self.is_wanted(one, width)]
        wanted = wanted[:1] + wanted[1 + min(self.shift, max(0, len(wanted) - 2)) :]
        flexible = next((one for one in wanted if one.width == 0), None)
        left = width - 2 - (0 if flexible is None else _FLEXIBLE_AT_LEAST + 1)
        found = []
        for column in wanted:
            if column is flexible:
                found.append((column, 0))
                continue
            if column.width + 1 > left:
                break
            left -= column.width + 1
            found.append((column, column.width))
        if flexible is not None and flexible not in [column for column, _ in found]:
            found.append((flexible, 0))
        return [(column, wide or _FLEXIBLE_AT_LEAST + max(0, left)) for column, wide in found]

    def is_wanted(self, column: Column[Any], width: int) -> bool:
        """Whether a line of `width` cells has a column, if there is room."""
        if column.name in self.hidden:
            return False
        return column.name in self.shown or not column.wide or width > _WIDE

    def toggle(self, name: str, width: int) -> None:
        """Show a column that is hidden, hide one that is shown."""
        column = next(one for one in self.columns if one.name == name)
        if self.is_wanted(column, width):
            self.hidden, self.shown = (*self.hidden, name), tuple(one for one in self.shown if one != name)
        else:
            self.hidden, self.shown = tuple(one for one in self.hidden if one != name), (*self.shown, name)

    def head(self, width: int) -> Line:
        """The titles; the one that rows are sorted by has a mark."""
        parts = []
        for column, wide in self.visible(width):
            mark = ("v" if self.reverse else "^") if column.name == self.sort else ""
            parts.append(_cell(column.title + mark, column, wide))
        return (Cell("  " + " ".join(parts), "head"),)

    def line(self, place: int, width: int) -> Line:
        """The row of a place; a mark shows where the cursor is."""
        if not 0 <= place < len(self.rows):
            return ()
        return self._drawn(place, width, is_cursor=place == self.cursor)

    def plain_line(self, place: int, width: int) -> Line:
        """The row of a place, without the cursor."""
        return self._drawn(place, width, is_cursor=False)

    def _drawn(self, place: int, width: int, *, is_cursor: bool) -> Line:
        row = self.rows[place]
        bad = self.bad(row)
        mark = ">" if is_cursor else " "
        parts = [_cell(column.text(row), column, wide) for column, wide in self.visible(width)]
        kind = "cursor" if is_cursor else "bad" if bad else ""
        return (Cell(mark + ("!" if bad else " ") + " ".join(parts), kind),)


def _cell(text: str, column: Column[Any], width: int) -> str:
    return fitted(text, width, right=not column.is_text and column.width > 0)


def _sorted(rows: Sequence[Any], column: Column[Any], reverse: bool) -> list[Any]:
    """By value; rows without one are last in either order."""
    known, unknown = [], []
    for row in rows:
        value = column.read(row)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            unknown.append(row)
        else:
            known.append((value.casefold() if isinstance(value, str) else value, row))
    known.sort(key=lambda pair: pair[0], reverse=reverse)
    return [row for _, row in known] + unknown
