"""Opening a record to read it: a reader that is slow, stopped or killed is never in its writer's way.

A file that its writer has closed is read where it is. All else is copied with its journal, and SQLite applies
it to the copy. The copy counts only if meanwhile no log was begun (WAL: until then the log holds every page
that moves to the file) and no transaction ended (rollback journal).
"""

import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

from pylon.recorder.history.database import UNREADABLE, quoted
from pylon.recorder.history.errors import HistoryAbsentError, HistoryDamagedError, HistoryError
from pylon.recorder.history.place import SIDE_FILES

_MAGIC = b"SQLite format 3\0"
_TRIES = 20
_PAUSE_S = 0.05
# Magic, page size, number of the log, salts: it changes when the log begins again.
_LOG_HEADER_BYTES = 32
_MEMORY = Path("/dev/shm")
# A record and its journal stay under 64 MiB. Another user's may be made to fill the reader's disk.
_MOST_BYTES = 1024**3


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection to the record, or to a copy that is private.

    Raises:
        HistoryAbsentError: there is no such file.
        HistoryDamagedError: it cannot be read.
        HistoryError: it may not be read, or there is no room for a copy.
    """
    try:
        if not path.is_file():
            raise HistoryAbsentError(
                path, "there is no such file", "Name the folder of a run that was recorded"
            )
        if not any(path.with_name(path.name + side).exists() for side in SIDE_FILES):
            return _connected(path, path, "mode=ro&immutable=1")
        return _open_copy(path)
    except PermissionError as error:
        fix = "Ask its owner, or copy it to a folder of your own"
        raise HistoryError(path, f"may not be read ({error.strerror})", fix) from error
    except OSError as error:
        raise HistoryError(path, f"cannot be read ({error})", "Look at its disk, and try again") from error


def _open_copy(path: Path) -> sqlite3.Connection:
    files = [path.with_name(path.name + side) for side in ("", *SIDE_FILES)]
    for file in files:
        # To open a pipe would wait for a writer.
        if file.exists() and not file.is_file():
            raise HistoryDamagedError(path, f"{file.name} is not a regular file", "Remove that")
    needed = sum(map(_size, files))
    if needed > _MOST_BYTES:
        problem = f"has {needed / 1e9:.0f} GB with its journal, and a record has 0.07 GB at most"
        raise HistoryDamagedError(path, problem, "Ask who made it, and remove it")
    with tempfile.TemporaryDirectory(prefix="pylon-history-", dir=_place(path, needed)) as folder:
        copy = Path(folder) / "history.sqlite"
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_S)
            if _copy(path, copy):
                # With the files open their names are not needed: a reader that is killed leaves nothing.
                return _connected(path, copy, "mode=rw")
    raise HistoryError(path, "changes all the time while it is copied", "Try again")


def _connected(path: Path, file: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quoted(file)}?{options}", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        # The file may be another user's: what its schema calls must be harmless.
        connection.execute("PRAGMA trusted_schema = 0")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except UNREADABLE as error:
        connection.close()
        raise damaged(path, error) from error
    return connection


def damaged(path: Path, error: Exception) -> HistoryDamagedError:
    """The error for a record that SQLite cannot read, or for a file of another kind in its place."""
    problem = f"is damaged or no record ({error})"
    if _is_sqlite(path):
        fix = f"`sqlite3 {path} .recover` may save rows; the next run sets it aside and begins a new one"
    elif path.suffix == ".sqlite":
        fix = "The next run sets it aside and begins a new one"
    else:
        problem = "is not an SQLite file, which a record is"
        fix = "Name the folder of a run that was recorded, or its history.sqlite"
    return HistoryDamagedError(path, problem, fix)


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _copy(path: Path, copy: Path) -> bool:
    """Copy a record and its journal; whether they belong together."""
    before = _state(path)
    for side in ("", "-wal", "-journal"):
        target = copy.with_name(copy.name + side)
        target.unlink(missing_ok=True)
        try:
            shutil.copyfile(path.with_name(path.name + side), target)
        except FileNotFoundError:
            if not side:
                raise
    return before == _state(path)


def _state(path: Path) -> tuple[object, ...]:
    """What is the same before and after, if nothing moved that a copy must have together."""
    log = path.with_name(f"{path.name}-wal")
    try:
        with log.open("rb") as file:
            header = file.read(_LOG_HEADER_BYTES)
    except FileNotFoundError:
        header = b""
    if header:
        return (header,)
    return (header, *_stamp(path), *_stamp(path.with_name(f"{path.name}-journal")))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _size(path: Path) -> int:
    return _stamp(path)[0]


def _place(path: Path, needed: int) -> str:
    """A folder with room for a copy: the usual one or, if that is full, memory."""
    places = (tempfile.gettempdir(), _MEMORY)
    for place in places:
        try:
            room = shutil.disk_usage(place).free
        except OSError:
            continue
        if room > needed * 1.1 and os.access(place, os.W_OK):
            return str(place)
    fix = f"Set TMPDIR to a folder with {needed * 1.1 / 1e6:.0f} MB free"
    raise HistoryError(path, f"no room to copy it to {' or '.join(map(str, places))}", fix)
