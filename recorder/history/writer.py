"""The one writer of a record.

    sample, window, mark, ... ──> pending ── commit ──> history.sqlite

A call only adds to what is pending; `commit`, once per tick, writes all of it in one transaction. While the
disk is full, locked or gone it stays pending, and is tried again; what has no room meanwhile is counted in a
mark 'lost'.
"""

import dataclasses
import json
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pylon.recorder.history.database import is_damage, open_database
from pylon.recorder.history.errors import HistoryError
from pylon.recorder.history.pending import Pending, PendingGap
from pylon.recorder.history.place import WriterLock, set_aside
from pylon.recorder.history.rows import (
    AlertRow,
    EndingRow,
    LaunchRow,
    MarkRow,
    ProcessRow,
    SeriesKey,
    StepWindow,
    VerdictRow,
)
from pylon.recorder.history.store import Store, wal_bytes
from pylon.storage import PlantedError

logger = logging.getLogger(__name__)

LIMIT_BYTES = 64 * 1024 * 1024
LEAST_BYTES = 4 * 1024 * 1024
# With a rollback journal each transaction waits for the disk twice.
_TRUNCATE_EVERY_S = 5.0
_MOST_RETRY_S = 30.0
_DURABLE = frozenset({"begin", "end", "hang", "stack", "stop_request"})
_DETAIL_CHARACTERS = 4096
_STACK_CHARACTERS = 65536


class HistoryWriter:
    """Writes one record, also into a file that an earlier launch has begun. For one thread.

    Args:
        path: the file; its folder must exist.
        limit_bytes: of the file and its journal together.
        clock: monotonic seconds.

    Raises:
        ValueError: `limit_bytes` is under 4 MiB.
        HistoryBusyError: another process writes it.
        HistoryVersionError: a newer Pylon wrote it.
        HistoryForeignError: it is another program's.
        PlantedError: it is a link or no file, or another user may have planted it.
    """

    def __init__(
        self, path: Path, *, limit_bytes: int = LIMIT_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if limit_bytes < LEAST_BYTES:
            raise ValueError(f"limit_bytes is {limit_bytes}, expected at least {LEAST_BYTES} (4 MiB)")
        self.path = path
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._pending = Pending()
        self._lock: WriterLock | None = None
        self._store: Store | None = None
        self._set_aside: Path | None = None
        self._damaged = False
        self._launches: dict[int, LaunchRow] = {}
        self._gaps: dict[SeriesKey, PendingGap] = {}
        self._alerts: dict[int, AlertRow] = {}
        self._alerts_begun = 0
        self._now = 0.0
        self._durable = False
        self._error: Exception | None = None
        self._retry_s = 1.0
        self._next_try = -math.inf
        self._last_commit = -math.inf
        try:
            self._opened()
        except PlantedError:
            raise
        except (sqlite3.Error, OSError) as error:
            self._failed(error)

    def __enter__(self) -> "HistoryWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def error(self) -> Exception | None:
        """Why nothing is written at present; None if all is well."""
        return self._error

    @property
    def journal(self) -> str | None:
        """The journal mode in force, 'wal' or 'truncate'; None while the file is not open."""
        return None if self._store is None else self._store.database.journal

    @property
    def set_aside(self) -> Path | None:
        """Where the last damaged file is that was in the place of this one; None: there was none."""
        return self._set_aside

    def begin(self, row: LaunchRow) -> int:
        """Add a launch, and write it at once; its number."""
        last = 0 if self._store is None else self._store.last_launch()
        number = max(last, *self._launches, 0) + 1
        self._launches[number] = dataclasses.replace(row, id=number)
        self._add("launch", self._launches[number], row.began_at)
        self._durable = True
        self._commit()
        return number

    def change_launch(self, number: int, **changes: Any) -> None:  # noqa: ANN401 - fields of LaunchRow
        """Change fields of a launch that this writer has begun."""
        if number in self._launches:
            self._launches[number] = dataclasses.replace(self._launches[number], **changes)
            self._add("launch", self._launches[number], self._launches[number].began_at)

    def resume(self, number: int) -> None:
        """Go on with a launch that a former writer has begun; what it is stays known if the file is lost."""
        row = None if self._store is None else self._store.launch(number)
        if row is not None:
            self._launches[number] = row

    def sample(self, t: float, readings: Iterable[tuple[SeriesKey, float | None, str | None]]) -> None:
        """Add readings of one moment: for each its value or, if there is none, the reason for that."""
        self._now = max(self._now, t)
        values = []
        for key, value, reason in readings:
            if value is None or not math.isfinite(value):
                self._gap(key, t, reason or ("unknown" if value is None else "not_finite"))
                continue
            if self._gaps and key in self._gaps:
                self._gap(key, t, None)
            values.append((t, key, float(value)))
        self._pending.add_samples(values)

    def window(self, row: StepWindow) -> None:
        """Add the steps of a tick."""
        self._add("step_window", row, row.t)

    def last_loss(self, launch: int, value: float) -> None:
        """Note the newest loss of a launch in the place of the one before."""
        self._pending.last_losses[launch] = value

    def mark(self, launch: int, t: float, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Add something that happened. A long `detail` is cut."""
        text = None if detail is None else json.dumps(detail, default=str)
        most = _STACK_CHARACTERS if kind == "stack" else _DETAIL_CHARACTERS
        if text is not None and len(text) > most:
            text = json.dumps({"cut": text[: most // 2]})
        self._add("mark", MarkRow(launch, t, kind, text), t)
        self._durable = self._durable or kind in _DURABLE

    def alert_began(self, row: AlertRow) -> int:
        """Add an alert; its number, for `alert_ended`."""
        self._alerts_begun += 1
        self._alerts[self._alerts_begun] = dataclasses.replace(row, text=row.text[:_DETAIL_CHARACTERS])
        self._add("alert", self._alerts[self._alerts_begun], row.since)
        return self._alerts_begun

    def alert_ended(self, number: int, until: float) -> None:
        """Add the end of an alert that `alert_began` has numbered; the second end of one changes nothing."""
        row = self._alerts.pop(number, None)
        if row is not None:
            self._add("alert", dataclasses.replace(row, until=until), until)

    def verdict(self, row: VerdictRow) -> None:
        """Add what held the run back; a row of the same launch and `t` is replaced."""
        self._add("verdict", row, row.t)

    def process(self, row: ProcessRow) -> None:
        """Add a process; a row of the same launch, pid, device and `since` is replaced."""
        self._add("process", row, row.since)

    def end(self, row: EndingRow) -> None:
        """Add how a launch ended, and write it at once; a second end of a launch replaces the first."""
        self._add("ending", row, row.at)
        self._durable = True
        self._commit()

    def commit(self) -> bool:
        """Write what is pending. A disk in trouble raises nothing; a lock is waited for 0.2 s at most.

        Returns:
            Whether nothing is pending any more.
        """
        now = self._clock()
        batched = self.journal == "truncate" and not self._durable
        if now < self._next_try or (batched and now < self._last_commit + _TRUNCATE_EVERY_S):
            return False
        return self._commit()

    def close(self) -> None:
        """Write what is pending, and let go of the file."""
        if self._pending:
            self._durable = True
            self._commit()
        self._let_go()

    def _commit(self) -> bool:
        try:
            store = self._opened()
            reason = None if self._error is None else str(self._error)
            store.write(self._pending, self._now, reason, durable=self._durable)
        except (sqlite3.Error, OSError, HistoryError) as error:
            self._failed(error)
            return False
        if self._error is not None:
            logger.warning("%s: is written again", self.path)
        self._pending.clear()
        self._durable, self._error, self._retry_s = False, None, 1.0
        self._last_commit = self._clock()
        return True

    def _add(self, table: str, row: Any, t: float) -> None:  # noqa: ANN401 - one of the classes in rows.py
        self._now = max(self._now, t)
        self._pending.add(table, row)

    def _gap(self, key: SeriesKey, t: float, reason: str | None) -> None:
        """Begin a gap, or end the one of before; a gap that goes on for the same reason is one."""
        known = self._gaps.get(key)
        if known is not None and known.reason == reason:
            return
        if known is not None:
            self._pending.add("gap", dataclasses.replace(self._gaps.pop(key), until=t))
        if reason is not None:
            self._gaps[key] = PendingGap(key, t, None, reason)
            self._pending.add("gap", self._gaps[key])

    def _opened(self) -> Store:
        """The file, opened again if it was removed or is damaged."""
        if self._store is not None and self._store.database.in_place():
            return self._store
        self._let_go()
        self._lock = WriterLock(self.path)
        try:
            if self._damaged:
                self._set_aside = set_aside(self.path)
                self._damaged = False
            database = open_database(
                self.path, self._limit_bytes - wal_bytes(self._limit_bytes), has_locks=self._lock.has_locks
            )
        except BaseException:
            self._let_go()
            raise
        self._set_aside = database.set_aside or self._set_aside
        self._store = Store(database, self._limit_bytes)
        queued = {row.id for table, row in self._pending.rows if table == "launch"}
        for row in reversed(self._store.adopt(self._launches)):
            if row.id not in queued:
                self._pending.rows.appendleft(("launch", row))
        return self._store

    def _let_go(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _failed(self, error: Exception) -> None:
        if self._error is None or str(self._error) != str(error):
            logger.error(
                "%s: cannot be written (%s); what is new is kept in memory for now", self.path, error
            )
        self._error = error
        self._next_try = self._clock() + self._retry_s
        self._retry_s = min(2 * self._retry_s, _MOST_RETRY_S)
        if self._store is None:
            return
        if is_damage(error):
            self._damaged = True
            self._let_go()
        elif isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            self._relieve(self._store)

    def _relieve(self, store: Store) -> None:
        try:
            store.relieve(self._now)
        except (sqlite3.Error, OSError) as error:
            logger.debug("%s: nothing can be removed either (%s)", self.path, error)
