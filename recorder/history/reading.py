"""A record as its readers see it."""

import dataclasses
import math
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pylon.recorder.history import schema
from pylon.recorder.history.checking import all_numbers, checked
from pylon.recorder.history.copying import damaged, open_to_read
from pylon.recorder.history.database import UNREADABLE
from pylon.recorder.history.errors import HistoryAbsentError, HistoryForeignError, HistoryVersionError
from pylon.recorder.history.levels import NEWEST, LevelRow, parts
from pylon.recorder.history.rows import (
    AlertRow,
    EndingRow,
    Gap,
    LaunchRow,
    MarkRow,
    ProcessRow,
    Sample,
    SeriesKey,
    StepWindow,
    VerdictRow,
)
from pylon.recorder.history.step_windows import MERGED

Row = TypeVar("Row")

_RECENT = """
CREATE TEMP TABLE recent(series INTEGER, t REAL, value REAL, PRIMARY KEY(series, t)) WITHOUT ROWID
"""
_VALUES = "SELECT t, 0 AS width, 1 AS n, value AS min, value AS mean, value AS max FROM "
_BUCKET = (
    "SELECT t, width, n, min, mean, max FROM bucket "
    "WHERE width = {3} AND series = {0} AND t >= {1} AND t < {2}"
)
_PART = {
    NEWEST: _VALUES + "recent WHERE series = {0} AND t >= {1} AND t < {2}",
    0: _VALUES + "reading WHERE series = {0} AND t >= {1} AND t < {2}",
}


def open_history(path: Path) -> "History":
    """Open a record to read it, also while it is written; nothing is written to its folder.

    Args:
        path: the file, or the folder that holds it.

    Raises:
        HistoryError: it is absent, damaged, of a newer version or of another program, or may not be read.
    """
    if path.is_dir():
        path /= "history.sqlite"
    connection = open_to_read(path)
    try:
        _refuse_unknown(path, connection)
        _sort_newest(path, connection)
    except BaseException:
        connection.close()
        raise
    return History(path, connection)


def _refuse_unknown(path: Path, connection: sqlite3.Connection) -> None:
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT name, rootpage FROM sqlite_schema").fetchall()
    except UNREADABLE as error:
        raise damaged(path, error) from error
    if not tables:
        raise HistoryAbsentError(
            path,
            "is empty: its recorder has written nothing into it yet, or could not, as on a full disk",
            "Look at the space on that disk",
        )
    if application != schema.APPLICATION_ID:
        raise HistoryForeignError(path, "is no record of Pylon", "Name the folder of a run that was recorded")
    if version > schema.VERSION:
        raise HistoryVersionError(
            path, f"has schema version {version}, and this Pylon knows {schema.VERSION}", "Update Pylon"
        )
    # A view or a virtual table in the place of a table is a program, which may run without an end.
    missing = schema.TABLES - {name for name, page in tables if page}
    if missing:
        raise damaged(path, sqlite3.DatabaseError(f"tables are missing: {', '.join(sorted(missing))}"))


def _sort_newest(path: Path, connection: sqlite3.Connection) -> None:
    """The newest readings by figure, in memory: in the file they are by time."""
    try:
        connection.execute(_RECENT)
        connection.execute("INSERT INTO recent SELECT series, t, value FROM newest")
        connection.execute("PRAGMA query_only = 1")
    except UNREADABLE as error:
        raise damaged(path, error) from error


class History:
    """One record, as it was when it was opened. All times are steady wall seconds.

    Every method raises HistoryDamagedError if it meets damage.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def launches(self) -> list[LaunchRow]:
        """All launches, the first one first."""
        return self._all("launch", LaunchRow, "ORDER BY id")

    def ending(self, launch: int) -> EndingRow | None:
        """How a launch ended; None: that is not recorded."""
        found = self._all("ending", EndingRow, "WHERE launch = ?", launch)
        return found[0] if found else None

    def marks(self, launch: int | None = None, kinds: Collection[str] | None = None) -> list[MarkRow]:
        """What happened, by time; of all launches and kinds, or of those named."""
        rows = self._all("mark", MarkRow, "WHERE ? IN (launch, 0) ORDER BY t, id", launch or 0)
        return rows if kinds is None else [row for row in rows if row.kind in kinds]

    def newest_marks(self, launch: int, kind: str | None = None, count: int = 1) -> list[MarkRow]:
        """The last `count` marks of a kind, or of all kinds, by time."""
        rest = "WHERE launch = ? AND kind = coalesce(?, kind) ORDER BY id DESC LIMIT ?"
        return self._all("mark", MarkRow, rest, launch, kind, count)[::-1]

    def newest_window(self, launch: int, least_steps: int = 0) -> StepWindow | None:
        """The last step window, which may have losses of earlier steps alone; None: there is none.

        Args:
            launch: its number.
            least_steps: that it has.
        """
        rest = "WHERE launch = ? AND n >= ? ORDER BY t DESC LIMIT 1"
        found = self._all("step_window", StepWindow, rest, launch, least_steps)
        return found[0] if found else None

    def last_loss(self, launch: int) -> float | None:
        """The loss of the last step that has reported one, maybe NaN; None: not recorded."""
        sql = "SELECT value FROM meta WHERE key = ?"
        found = self._query(sql, schema.LAST_LOSS.format(launch))
        try:
            return float(found[0][0]) if found else None
        except (TypeError, ValueError):
            return None

    def newest_alerts(self, launch: int, count: int) -> list[AlertRow]:
        """The last `count` alerts, by the time at which they began."""
        rest = "WHERE launch = ? ORDER BY since DESC, id DESC LIMIT ?"
        return self._all("alert", AlertRow, rest, launch, count)[::-1]

    def newest_verdicts(self, launch: int, count: int) -> list[VerdictRow]:
        """The last `count` verdicts, by time."""
        return self._all("verdict", VerdictRow, "WHERE launch = ? ORDER BY t DESC LIMIT ?", launch, count)[
            ::-1
        ]

    def alerts(self, launch: int | None = None) -> list[AlertRow]:
        """Rules that were broken, by the time at which they began to be."""
        return self._all("alert", AlertRow, "WHERE ? IN (launch, 0) ORDER BY since, id", launch or 0)

    def verdicts(self, launch: int | None = None) -> list[VerdictRow]:
        """What held the run back, by time."""
        return self._all("verdict", VerdictRow, "WHERE ? IN (launch, 0) ORDER BY t", launch or 0)

    def processes(self, launch: int | None = None) -> list[ProcessRow]:
        """Users of GPUs, and processes that held memory, by when they were first seen."""
        return self._all("process", ProcessRow, "WHERE ? IN (launch, 0) ORDER BY since, pid", launch or 0)

    def series(self) -> list[SeriesKey]:
        """The figures that have readings or gaps."""
        return self._all("series", SeriesKey, "ORDER BY server, device, name")

    def range(self) -> tuple[float, float] | None:
        """Time of the first and of the last entry of any kind; None for an empty record."""
        sql = """
            SELECT min(a), max(b) FROM (
                SELECT min(t) AS a, max(t) AS b FROM newest
                UNION ALL SELECT min(t), max(t + width) FROM step_window
                UNION ALL SELECT min(t), max(t) FROM mark
                UNION ALL SELECT min(began_at), max(began_at) FROM launch
                UNION ALL SELECT min(at), max(at) FROM ending)"""
        first, last = self._query(sql)[0]
        return None if first is None else (first, last)

    def last_sample_at(self, since: float = -math.inf, until: float = math.inf) -> float | None:
        """Time of the newest reading in a range; None: there is none."""
        for table in ("newest", "reading", "bucket"):
            found = self._query(f"SELECT max(t) FROM {table} WHERE t >= ? AND t < ?", since, until)[0][0]
            if found is not None:
                return float(found)
        return None

    def samples(self, key: SeriesKey, since: float, until: float, buckets: int = 1000) -> list[Sample]:
        """A figure over time.

        Args:
            key: of which figure.
            since, until: the range.
            buckets: at most so many are returned; one without a reading is left out. There may be half as
                many, if the record has means of that width.

        Returns:
            By time; `t` is where the bucket begins. Its width is that of what is left of its time, if that is
            wider.
        """
        number, levels = self._number_of(key), self._levels()
        bucket_s = (until - since) / buckets
        bucket_s = max(
            (one.width for one in levels if bucket_s < one.width <= 2 * bucket_s), default=bucket_s
        )
        found = [] if number is None else parts(levels, since, until, bucket_s)
        if number is None or not found:
            return []
        rows = " UNION ALL ".join(
            _PART.get(one.width, _BUCKET).format(number, repr(one.since), repr(one.until), one.width)
            for one in found
        )
        sql = (
            "SELECT max(0, CAST((t - ?) / ? AS INTEGER)) AS place, "
            "max(width), sum(n), min(min), sum(n * mean) / sum(n), max(max) "
            f"FROM ({rows}) GROUP BY place ORDER BY place"
        )
        return [
            Sample(since + place * bucket_s, max(bucket_s, width), n, least, mean, most)
            for place, width, n, least, mean, most in self._numbers(sql, since, bucket_s)
        ]

    def readings(self, key: SeriesKey, since: float, until: float) -> list[Sample]:
        """A figure over time in the finest form that is left, not put into buckets."""
        sql = (
            "SELECT t, width, n, min, mean, max FROM sample WHERE series = ? AND t >= ? AND t < ? ORDER BY t"
        )
        return [Sample(*row) for row in self._numbers(sql, self._number_of(key), since, until)]

    def gaps(self, key: SeriesKey, since: float = -math.inf, until: float = math.inf) -> list[Gap]:
        """Why a figure has no readings, where it has none."""
        sql = (
            "SELECT t, until, reason FROM gap WHERE series = ? AND t < ? AND coalesce(until, ?) > ? "
            "ORDER BY t"
        )
        return self._rows(Gap, sql, self._number_of(key), until, math.inf, since)

    def windows(
        self, launch: int, since: float = -math.inf, until: float = math.inf, buckets: int | None = None
    ) -> list[StepWindow]:
        """The steps of a launch.

        Args:
            launch: which.
            since, until: the range.
            buckets: as of `samples`, over the part of the range that has steps; None: as they are recorded.
        """
        where = "FROM step_window WHERE launch = ? AND t >= ? AND t < ?"
        if buckets is None:
            names = ", ".join(field.name for field in dataclasses.fields(StepWindow))
            return self._rows(StepWindow, f"SELECT {names} {where} ORDER BY t", launch, since, until)
        sql = f"SELECT min(t), max(t + width) {where} HAVING count(*)"
        if not (found := self._numbers(sql, launch, since, until)):
            return []
        first, last = found[0]
        start = first if math.isinf(since) else since
        width = ((last if math.isinf(until) else until) - start) / buckets or 1.0
        sql = f"SELECT CAST((t - ?) / ? AS INTEGER) AS place, {MERGED} {where} GROUP BY place ORDER BY place"
        rows = self._query(sql, start, width, launch, since, until)
        return self._checked(StepWindow, [(launch, start + row[0] * width, width, *row[1:]) for row in rows])

    def _levels(self) -> list[LevelRow]:
        found = self._numbers("SELECT width, since, until FROM level ORDER BY width")
        return [LevelRow(*row) for row in found]

    def _number_of(self, key: SeriesKey) -> int | None:
        sql = "SELECT id FROM series WHERE server = ? AND device = ? AND name = ?"
        found = self._query(sql, key.server, key.device, key.name)
        return found[0][0] if found else None

    def _all(self, table: str, row: type[Row], rest: str, *parameters: object) -> list[Row]:
        return self._rows(row, f"{schema.select(table, row)} {rest}", *parameters)

    def _rows(self, row: type[Row], sql: str, *parameters: object) -> list[Row]:
        return self._checked(row, self._query(sql, *parameters))

    def _checked(self, row: type[Row], found: Sequence[Sequence[Any]]) -> list[Row]:
        try:
            return [checked(row, one) for one in found]
        except sqlite3.Error as error:
            raise damaged(self.path, error) from error

    def _numbers(self, sql: str, *parameters: object) -> list[Any]:
        """Rows of which no value is missing or anything but a number."""
        found = self._query(sql, *parameters)
        try:
            all_numbers(found)
        except sqlite3.Error as error:
            raise damaged(self.path, error) from error
        return found

    def _query(self, sql: str, *parameters: object) -> list[Any]:
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except UNREADABLE as error:
            raise damaged(self.path, error) from error
