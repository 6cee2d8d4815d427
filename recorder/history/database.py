"""The file as its writer opens it: checked, with the journal that its place carries."""

import contextlib
import logging
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from pylon import __version__
from pylon.recorder.history import schema
from pylon.recorder.history.errors import HistoryForeignError, HistoryVersionError
from pylon.recorder.history.place import SIDE_FILES, WITH_WAL, file_system, set_aside
from pylon.storage import refuse_other_than_file

logger = logging.getLogger(__name__)

PAGE_BYTES = 4096
_CHECK_S = 0.5
BUSY_MS = 200
# SQLite's message quotes a damaged schema, whose bytes may be no text.
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
# Of these SQLite reports that the content is wrong, not that the disk or a lock is in the way.
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass
class Database:
    """An open file.

    Attributes:
        connection: in autocommit mode: transactions are begun and ended by name.
        journal: the journal mode in force: 'wal' or 'truncate'.
        set_aside: where the damaged file is that was in its place; None: there was none.
        identity: device and inode.
    """

    connection: sqlite3.Connection
    path: Path
    journal: str
    set_aside: Path | None
    identity: tuple[int, int]

    def in_place(self) -> bool:
        """Whether the file still has its name: a removed one takes what is written, and is not found."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    def size_bytes(self) -> int:
        """Of the file and its journal, as they are on disk."""
        return sum(_size(self.path.with_name(self.path.name + end)) for end in ("", "-wal", "-journal"))

    def wal_bytes(self) -> int:
        """Of the write-ahead log; 0 without one."""
        return _size(self.path.with_name(f"{self.path.name}-wal"))

    def number(self, sql: str, *parameters: float) -> float:
        """The one number that a statement gives; 0 for none."""
        row = self.connection.execute(sql, parameters).fetchone()
        return 0 if row is None or row[0] is None else row[0]

    def close(self) -> None:
        """Close it, whatever its state."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()


def is_damage(error: BaseException) -> bool:
    """Whether an error means that the content is damaged."""
    return isinstance(error, UnicodeDecodeError) or (
        isinstance(error, sqlite3.DatabaseError) and (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGE
    )


def open_database(path: Path, limit_bytes: int, *, has_locks: bool) -> Database:
    """Open the file for writing; make it if it is absent, and set a damaged one aside.

    Args:
        path: the file.
        limit_bytes: of the file itself.
        has_locks: whether its file system has locks.

    Raises:
        HistoryVersionError: a newer Pylon wrote it.
        HistoryForeignError: it is another program's.
        PlantedError: it is a link or no file, or another user may have planted it.
        sqlite3.Error, OSError: its place is full, locked or gone for now.
    """
    for side in ("", *SIDE_FILES):
        file = path.with_name(path.name + side)
        with contextlib.suppress(FileNotFoundError):
            refuse_other_than_file(file, file.lstat())
    kept = None
    try:
        return _opened(path, limit_bytes, has_locks, None)
    except UNREADABLE as error:
        if not is_damage(error):
            raise
        kept = set_aside(path)
        logger.error("%s: is damaged (%s); it is kept as %s, and a new one is begun", path, error, kept.name)
    return _opened(path, limit_bytes, has_locks, kept)


def _opened(path: Path, limit_bytes: int, has_locks: bool, kept: Path | None) -> Database:
    uri = f"file:{quoted(path)}?mode=rwc" + ("" if has_locks else "&nolock=1")
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=BUSY_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    try:
        _refuse_others(connection, path)
        _check(connection)
        journal = _set_journal(connection, has_locks and file_system(path.parent) in WITH_WAL)
        connection.execute(f"PRAGMA max_page_count = {limit_bytes // PAGE_BYTES}")
        connection.execute("PRAGMA cache_size = -2048")
        _create(connection)
        status = path.stat()
    except BaseException:
        connection.close()
        raise
    return Database(connection, path, journal, kept, (status.st_dev, status.st_ino))


def quoted(path: Path) -> str:
    """A path as part of the URI that SQLite opens."""
    return os.fspath(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _refuse_others(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables and application != schema.APPLICATION_ID:
        raise HistoryForeignError(path, "is the database of another program", "Record into another folder")
    if version > schema.VERSION:
        raise HistoryVersionError(
            path,
            f"has schema version {version}, and this Pylon knows {schema.VERSION}",
            "Use the Pylon that wrote it, or record into another folder",
        )


def _check(connection: sqlite3.Connection) -> None:
    """Look for damage for a bounded time: a file of usual size is looked through whole."""
    end = time.monotonic() + _CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        connection.set_progress_handler(None, 0)
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if found != "ok" or (names and not names >= schema.TABLES):
        damage = sqlite3.DatabaseError(found if found != "ok" else "tables are missing")
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage


def _set_journal(connection: sqlite3.Connection, carries_wal: bool) -> str:
    """The journal mode that is in force, as SQLite reports it after it was set."""
    if carries_wal and connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal":
        connection.execute("PRAGMA synchronous = NORMAL")
        return "wal"
    # A file that was in WAL mode is opened without memory that is shared, since its place has none.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    mode: str = connection.execute("PRAGMA journal_mode = TRUNCATE").fetchone()[0]
    connection.execute("PRAGMA locking_mode = NORMAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return mode


def _create(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] == schema.APPLICATION_ID:
        return
    connection.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {schema.APPLICATION_ID};"
        f"PRAGMA user_version = {schema.VERSION}; {schema.CREATE}"
    )
    facts = {"schema_version": str(schema.VERSION), "pylon_version": __version__}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
    connection.execute("COMMIT")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
