"""Wider buckets for older readings, and the removal of what is oldest, a bounded piece per tick.

    newest ──60 s──> reading ──> 10 s ──> 60 s ──> 10 min ──> 1 h ──> 6 h ──> 1 day

Of each level the range `since <= t < until` is complete: a level is removed from its old end only where the
next one has taken it over.
"""

import math
import sqlite3
from dataclasses import dataclass, field

from pylon.recorder.history.schema import WIDTHS

# How long a level is kept, in s, while there is room: readings one hour, 10 s one day, 60 s two weeks.
_KEPT_S = {0: 3600.0, 10: 86400.0, 60: 14 * 86400.0}
# In which proportion the levels share the file when there is too little room.
_SHARES_S = {0: 600, 10: 7200, 60: 86400, 600: 604800, 3600: 2592000, 21600: 15552000, 86400: 155520000}
# A level begins at a multiple of the next width, so that no bucket of that one is half covered.
_ABOVE = dict(zip((0, *WIDTHS), WIDTHS, strict=False))
# By how many of its own buckets a level is filled at once, and by how many of the next one's it is shortened;
# one by one in a file that is near its limit.
_SLICE = 6
# How much is done in one tick: more than one piece if there is little in each.
_MOST_PIECES = 64
CHANGE_BYTES = 16 * 1024

# New readings move after this time or, a piece at a time, when there are so many of each series.
_MOVE_S = 60
_MOVE_READINGS = 150
_MANY_MOVE_S = 2
# A reading may come a moment after a later one.
_LATE_S = 2
_MOVE = (
    "INSERT OR REPLACE INTO reading SELECT series, t, value FROM newest WHERE t < :until ORDER BY series, t"
)
_MOVED = "DELETE FROM newest WHERE t < :until"
_FROM_READINGS = """
INSERT OR REPLACE INTO bucket
SELECT :width, series, :width * CAST(t / :width AS INTEGER) AS start,
       count(*), min(value), avg(value), max(value)
FROM reading WHERE series IN (SELECT id FROM series) AND t >= :since AND t < :until GROUP BY series, start
"""
_FROM_BUCKETS = """
INSERT OR REPLACE INTO bucket
SELECT :width, series, :width * CAST(t / :width AS INTEGER) AS start,
       sum(n), min(min), sum(n * mean) / sum(n), max(max)
FROM bucket WHERE width = :finer AND series IN (SELECT id FROM series) AND t >= :since AND t < :until
GROUP BY series, start
"""
_HELD = """
SELECT 1 FROM bucket WHERE width = ? AND series IN (SELECT id FROM series) AND t >= ? AND t < ? LIMIT 1
"""
_REMOVE_READINGS = "DELETE FROM reading WHERE series IN (SELECT id FROM series) AND t < :until"
_REMOVE_BUCKETS = """
DELETE FROM bucket WHERE width = :width AND series IN (SELECT id FROM series) AND t < :until
"""


@dataclass
class Level:
    """Buckets of one width; of the readings themselves, 0.

    Attributes:
        since, until: for which times it is complete.
        filled: up to where that is so of the present launch: less than `until` if the machine's clock was set
            back before it.
    """

    width: int
    since: float
    until: float
    filled: float

    def fill_to(self, t: float) -> None:
        """Note that it is complete up to `t`."""
        self.filled = t
        self.until = max(self.until, t)


@dataclass
class Thinning:
    """The levels of one file. Every method changes the tables inside the caller's transaction.

    Attributes:
        most_changes: how many rows are changed in one tick, or one piece if that is more.
        levels: by width; empty before the first launch.
    """

    connection: sqlite3.Connection
    most_changes: int
    levels: dict[int, Level] = field(default_factory=dict)
    _new: int = 0

    @classmethod
    def of(cls, connection: sqlite3.Connection, limit_bytes: int) -> "Thinning":
        """The levels as the file has them."""
        rows = connection.execute("SELECT width, since, until, filled FROM level")
        return cls(connection, limit_bytes // CHANGE_BYTES, {row[0]: Level(*row) for row in rows})

    def added(self, readings: int) -> None:
        """Count new readings."""
        self._new += readings

    def begin(self, t: float) -> None:
        """Take over all that is before `t`, when a launch begins."""
        if not self.levels:
            self._create(t)
            return
        last = self.connection.execute("SELECT max(t) FROM newest").fetchone()[0]
        set_back = t < max(self.levels[0].until, 0.0 if last is None else last)
        self._move(self._end_of_former(t, WIDTHS[0], last, set_back=set_back))
        below = 0
        for width in WIDTHS:
            end = self._end_of_former(t, width, last, set_back=set_back)
            if end > self.levels[width].filled:
                self._fill(self.levels[width], below, end)
            below = width
        for width, level in self.levels.items():
            level.filled = _floor(t, width or WIDTHS[0])
        if set_back:
            self._reach_back(t)
        self._store()

    def _end_of_former(self, t: float, width: int, last: float | None, *, set_back: bool) -> float:
        """Up to where the launches before this one are taken over; nothing of them comes later."""
        if not set_back:
            return _floor(t, width)
        return _floor(max(self.levels[0].until, 0.0 if last is None else last), width) + width

    def _reach_back(self, t: float) -> None:
        """Let levels begin at `t`, where wider ones hold nothing that they would hide."""
        for width, level in self.levels.items():
            above = _ABOVE.get(width)
            since = _floor(t, above or width)
            if since >= level.since:
                return
            span = (above, since, level.since)
            if above is None or self.connection.execute(_HELD, span).fetchone() is None:
                level.since = since

    def step(self, now: float, series: int, *, crowded: bool) -> None:
        """Fill levels that are due, and remove the oldest pieces of long ones, as far as a tick allows.

        Args:
            now: time of the newest reading.
            series: how many there are.
            crowded: whether the file is near its limit.
        """
        if not self.levels:
            return
        begun, changed = self.connection.total_changes, False
        for _ in range(_MOST_PIECES):
            if not (
                (crowded and self._remove_one(now, crowded))
                or self._fill_one(now, series, crowded)
                or self._remove_one(now, crowded)
            ):
                break
            changed = True
            if self.connection.total_changes - begun > self.most_changes:
                break
        if changed:
            self._store()

    def _create(self, t: float) -> None:
        for width in (0, *WIDTHS):
            until = _floor(t, width or WIDTHS[0])
            self.levels[width] = Level(width, _floor(t, _ABOVE.get(width, width)), until, until)
        below = (None, 0, *WIDTHS)
        rows = [
            (one.width, below[i], one.since, one.until, one.filled)
            for i, one in enumerate(self.levels.values())
        ]
        self.connection.executemany("INSERT OR REPLACE INTO level VALUES (?, ?, ?, ?, ?)", rows)

    def _store(self) -> None:
        rows = [(one.since, one.until, one.filled, one.width) for one in self.levels.values()]
        sql = "UPDATE level SET since = ?, until = ?, filled = ? WHERE width = ?"
        self.connection.executemany(sql, rows)

    def _fill_one(self, now: float, series: int, crowded: bool) -> bool:
        moved, complete = self.levels[0].filled, now - _LATE_S
        if self._new > _MOVE_READINGS * series and moved + _MANY_MOVE_S <= complete:
            self._move(moved + _MANY_MOVE_S)
            return True
        if moved + _MOVE_S <= complete:
            self._move(_floor(complete, WIDTHS[0]))
            return True
        pieces = 1 if crowded else _SLICE
        below = 0
        for width in WIDTHS:
            level = self.levels[width]
            if level.filled + pieces * width <= self.levels[below].filled:
                self._fill(level, below, level.filled + pieces * width)
                return True
            below = width
        return False

    def _move(self, until: float) -> None:
        moved = self.connection.execute(_MOVE, {"until": until}).rowcount
        self.connection.execute(_MOVED, {"until": until})
        self.levels[0].fill_to(until)
        self._new -= moved

    def _fill(self, level: Level, below: int, until: float) -> None:
        bounds = {"width": level.width, "finer": below, "since": level.filled, "until": until}
        self.connection.execute(_FROM_READINGS if below == 0 else _FROM_BUCKETS, bounds)
        level.fill_to(until)

    def _remove_one(self, now: float, crowded: bool) -> bool:
        """Shorten the level that is most above its share, or that is longer than it is ever kept."""
        candidates = []
        for width, level in self.levels.items():
            span = now - level.since
            if crowded or span > _KEPT_S.get(width, math.inf):
                candidates.append((span / _SHARES_S[width], width))
        for _, width in sorted(candidates, reverse=True):
            level = self.levels[width]
            until = level.since + (1 if crowded else _SLICE) * _ABOVE.get(width, width)
            if width in _ABOVE and until > self.levels[_ABOVE[width]].until:
                continue
            self.connection.execute(
                _REMOVE_BUCKETS if width else _REMOVE_READINGS, {"width": width, "until": until}
            )
            level.since = until
            return True
        return False


def _floor(t: float, width: int) -> float:
    return float(t // width * width)
