"""One transaction per tick: what is pending, one piece of thinning, and the bounds of all tables."""

import contextlib
import errno
import json
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from pylon.recorder.history import step_windows
from pylon.recorder.history.bounds import Bounds
from pylon.recorder.history.database import BUSY_MS, PAGE_BYTES, Database
from pylon.recorder.history.pending import Pending, PendingGap, values
from pylon.recorder.history.rows import LaunchRow, SeriesKey
from pylon.recorder.history.schema import LAST_LOSS, insert, select
from pylon.recorder.history.thinning import Thinning

logger = logging.getLogger(__name__)

# How much of the limit is for the write-ahead log, which holds one transaction, whatever the limit, and more.
_WAL_PART = 0.2
_WAL_LEAST_BYTES = 128 * 1024
# How much of the limit a series needs at least.
SERIES_BYTES = 64 * 1024
_CROWDED_PART = 0.9
_MERGE_EVERY_S = 60.0
# How many pieces are removed at once when the file has reached its limit.
_RELIEF_PIECES = 8
_MOST_REFUSED = 10_000

_FIND_SERIES = "SELECT id FROM series WHERE server = ? AND device = ? AND name = ?"
_ADD_SERIES = "INSERT INTO series(server, device, name, unit, scope) VALUES (?, ?, ?, ?, ?)"
_ADD_SAMPLE = "INSERT OR REPLACE INTO newest VALUES (?, ?, ?)"
_SET_FACT = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
_ADD_LOST = "INSERT INTO mark(launch, t, kind, detail) VALUES (?, ?, 'lost', ?)"
_ADD_GAP = "INSERT OR REPLACE INTO gap VALUES (?, ?, ?, ?)"


def wal_bytes(limit_bytes: int) -> int:
    """How much of a limit is for the write-ahead log; the file has the rest."""
    return int(limit_bytes * _WAL_PART) + _WAL_LEAST_BYTES


class Store:
    """An open file and what keeps it small.

    Attributes:
        database: the file.
    """

    def __init__(self, database: Database, limit_bytes: int) -> None:
        self.database = database
        self._connection = database.connection
        self._file_limit = limit_bytes
        # A limit that is lowered below what an earlier launch has written cannot shrink the file.
        self._wal_bytes = wal_bytes(limit_bytes)
        self._limit_bytes = max(limit_bytes, database.size_bytes() + self._wal_bytes)
        self._pages = (limit_bytes - self._wal_bytes) // PAGE_BYTES
        self._thinning = Thinning.of(self._connection, limit_bytes)
        self._bounds = Bounds(self._connection, limit_bytes)
        # A transaction may change a page per series or two, and the log has to hold them.
        self._most_series = limit_bytes // SERIES_BYTES
        self._series: dict[SeriesKey, int] = {}
        self._refused: set[SeriesKey] = set()
        self._count_series()
        self._launches: dict[int, int] = {}
        self._last = self.last_launch()
        self._last_merge = 0.0
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {max(16, self._wal_bytes // 4 // PAGE_BYTES)}")
        self._connection.execute(f"PRAGMA journal_size_limit = {self._wal_bytes // 2}")

    def last_launch(self) -> int:
        """The number of the last launch in the file; 0 without one."""
        return int(self.database.number("SELECT max(id) FROM launch"))

    def launch(self, number: int) -> LaunchRow | None:
        """A launch of the file; None: it has none of this number."""
        sql = f"{select('launch', LaunchRow)} WHERE id = ?"
        found = self._connection.execute(sql, (number,)).fetchone()
        return None if found is None else LaunchRow(*found)

    def adopt(self, launches: Mapping[int, LaunchRow]) -> list[LaunchRow]:
        """Give the launches of this writer numbers that are free in this file.

        Args:
            launches: by the number that the writer gave.

        Returns:
            Those that the file does not hold yet.
        """
        absent, last = [], self.last_launch()
        for number, row in launches.items():
            known = self.launch(number)
            if known is not None and (known.began_at, known.boot_id) == (row.began_at, row.boot_id):
                continue
            self._launches[number] = number if known is None else max(last, *self._launches.values(), 0) + 1
            absent.append(row)
        return absent

    def write(self, pending: Pending, now: float, reason: str | None, *, durable: bool) -> None:
        """Write what is pending, or nothing of it.

        Args:
            pending: what to write.
            now: the newest time.
            reason: why something was not written before, if it was not.
            durable: have the disk confirm it.

        Raises:
            sqlite3.Error, OSError: it cannot be written.
        """
        self._refuse_overflow()
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        with self._transaction():
            before = len(self._refused)
            self._write_rows(pending)
            refused = len(self._refused) - before
            if refused:
                self._mark_lost(now, {"series": refused}, "the limit of the file")
            if pending.lost:
                self._mark_lost(now, pending.lost, reason)
            self._thinning.step(now, self._series_count, crowded=self._is_crowded())
            if now >= self._last_merge + _MERGE_EVERY_S:
                self._last_merge = now
                step_windows.merge_old(self._connection, now)
            removed = self._bounds.enforce()
            if removed:
                self._mark_lost(now, removed, "the limit of the file")

    def relieve(self, now: float) -> None:
        """Remove old readings when the file has no room for new ones.

        Raises:
            sqlite3.Error: it cannot be written.
        """
        for _ in range(_RELIEF_PIECES):
            with self._transaction():
                self._thinning.step(now, self._series_count, crowded=True)

    def close(self) -> None:
        """Move the log into the file, and close it."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.database.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # What has rolled back by itself, as on a full disk, has no transaction left to end.
            self._series.clear()
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            with contextlib.suppress(sqlite3.Error):
                self._thinning = Thinning.of(self._connection, self._file_limit)
                self._count_series()
            raise

    def _write_rows(self, pending: Pending) -> None:
        for table, row in pending.rows:
            if isinstance(row, PendingGap):
                number = self._number_of(row.key)
                if number is not None:
                    self._connection.execute(_ADD_GAP, (number, row.t, row.until, row.reason))
                    self._bounds.wrote(table, 1, 0)
                continue
            fields = {name: _storable(one) for name, one in values(row).items()}
            if "launch" in fields:
                fields["launch"] = self._launches.get(row.launch, row.launch)
            if isinstance(row, LaunchRow) and row.id is not None:
                self._last = row.id
                fields["id"] = self._launches.get(row.id, row.id)
                if self.launch(fields["id"]) is None:
                    self._thinning.begin(row.began_at)
            self._connection.execute(insert(table, tuple(fields)), fields)
            self._bounds.wrote(table, 1, sum(len(one) for one in fields.values() if isinstance(one, str)))
        for launch, loss in pending.last_losses.items():
            key = LAST_LOSS.format(self._launches.get(launch, launch))
            self._connection.execute(_SET_FACT, (key, repr(loss)))
        samples = [
            (t, number, value)
            for t, key, value in pending.samples
            if (number := self._number_of(key)) is not None
        ]
        self._connection.executemany(_ADD_SAMPLE, samples)
        self._thinning.added(len(samples))

    def _count_series(self) -> None:
        self._series_count = int(self.database.number("SELECT count(*) FROM series"))

    def _number_of(self, key: SeriesKey) -> int | None:
        """The number of a series; None if the file has no room for another one."""
        number = self._series.get(key)
        if number is None and key not in self._refused:
            texts = tuple(map(_storable, (key.server, key.device, key.name, key.unit, key.scope)))
            found = self._connection.execute(_FIND_SERIES, texts[:3]).fetchone()
            if found is None and self._series_count >= self._most_series:
                self._refuse(key)
                return None
            if found is None:
                self._series_count += 1
                number = self._connection.execute(_ADD_SERIES, texts).lastrowid or 0
            else:
                number = int(found[0])
            self._series[key] = number
        return number

    def _refuse(self, key: SeriesKey) -> None:
        if not self._refused:
            logger.warning(
                "%s: has %d figures, as many as its limit allows; %s and others are not recorded",
                self.database.path,
                self._series_count,
                key,
            )
        if len(self._refused) < _MOST_REFUSED:
            self._refused.add(key)

    def _mark_lost(self, t: float, lost: Mapping[str, int], reason: str | None) -> None:
        detail = json.dumps({**lost, "reason": reason})
        self._connection.execute(_ADD_LOST, (self._launches.get(self._last, self._last) or None, t, detail))

    def _is_crowded(self) -> bool:
        number = self.database.number
        used = number("PRAGMA page_count") - number("PRAGMA freelist_count")
        return used > _CROWDED_PART * self._pages

    def _refuse_overflow(self) -> None:
        """Keep the log small; it grows only while another program reads in one long transaction."""
        if self.database.wal_bytes() > self._wal_bytes:
            self._connection.execute("PRAGMA busy_timeout = 0")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        if self.database.size_bytes() > self._limit_bytes:
            text = "the record is at its limit while another program reads it in one long transaction"
            raise OSError(errno.EFBIG, text, os.fspath(self.database.path))


def _storable(value: Any) -> Any:  # noqa: ANN401 - whatever a column takes
    """A value as SQLite takes it: names of files that are no UTF-8 hold characters that have no encoding."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
