"""The tables of `history.sqlite`. docs/recorder.md describes them for who reads them with SQL.

A tick writes its readings in the order of time (`newest`): into few pages, however many series there are. A
minute later they move to `reading`, in the order of series, and wider buckets are made of them (`bucket`);
old narrow ones are removed. The view `sample` shows the finest that is left of each moment.
"""

import dataclasses
import functools
from typing import Any

VERSION = 1
# "PyLn": by it `file` and we recognise a record.
APPLICATION_ID = 0x50794C6E

# Each bucket width, in s, is a multiple of the one before; 0 is the readings themselves.
WIDTHS = (10, 60, 600, 3600, 21600, 86400)

CREATE = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE launch(
    id INTEGER PRIMARY KEY, began_at REAL, kind TEXT, name TEXT, host TEXT, boot_id TEXT, pid INTEGER,
    start_ticks INTEGER, rank INTEGER, ranks INTEGER, command TEXT, working_directory TEXT, python TEXT,
    cgroup TEXT, configuration TEXT, configuration_digest TEXT, git TEXT, hardware TEXT);
CREATE TABLE ending(
    launch INTEGER PRIMARY KEY, at REAL, state TEXT, cause TEXT, certainty TEXT, source TEXT,
    exit_code INTEGER, signal INTEGER, evidence TEXT, advice TEXT, last_lines TEXT, traceback TEXT);
CREATE TABLE series(
    id INTEGER PRIMARY KEY, server TEXT, device TEXT, name TEXT, unit TEXT, scope TEXT,
    UNIQUE(server, device, name));
CREATE TABLE newest(t REAL, series INTEGER, value REAL, PRIMARY KEY(t, series)) WITHOUT ROWID;
CREATE TABLE reading(series INTEGER, t REAL, value REAL, PRIMARY KEY(series, t)) WITHOUT ROWID;
CREATE TABLE bucket(
    width INTEGER, series INTEGER, t REAL, n INTEGER, min REAL, mean REAL, max REAL,
    PRIMARY KEY(width, series, t)) WITHOUT ROWID;
CREATE TABLE level(width INTEGER PRIMARY KEY, finer INTEGER, since REAL, until REAL, filled REAL);
CREATE VIEW sample(series, t, width, n, min, mean, max) AS
    SELECT series, t, 0.0, 1, value, value, value FROM newest
    UNION ALL
    SELECT series, t, 0.0, 1, value, value, value FROM reading
    UNION ALL
    SELECT bucket.series, bucket.t, bucket.width, bucket.n, bucket.min, bucket.mean, bucket.max
    FROM bucket JOIN level USING (width) JOIN level AS below ON below.width = level.finer
    WHERE bucket.t < below.since;
CREATE TABLE gap(series INTEGER, t REAL, until REAL, reason TEXT, PRIMARY KEY(series, t)) WITHOUT ROWID;
CREATE TABLE step_window(
    launch INTEGER, t REAL, width REAL, n INTEGER, first_step INTEGER, last_step INTEGER, epoch INTEGER,
    step_min REAL, step_mean REAL, step_max REAL, wait_min REAL, wait_mean REAL, wait_max REAL,
    loss_min REAL, loss_mean REAL, loss_max REAL, loss_n INTEGER, non_finite INTEGER,
    PRIMARY KEY(launch, t)) WITHOUT ROWID;
CREATE TABLE mark(id INTEGER PRIMARY KEY, launch INTEGER, t REAL, kind TEXT, detail TEXT);
CREATE TABLE alert(
    id INTEGER PRIMARY KEY, launch INTEGER, rule TEXT, severity TEXT, since REAL, until REAL, text TEXT,
    value REAL, threshold REAL, UNIQUE(launch, rule, since, text));
CREATE TABLE verdict(
    launch INTEGER, t REAL, width REAL, name TEXT, evidence TEXT, runner_up TEXT, step_s_if_cured REAL,
    PRIMARY KEY(launch, t)) WITHOUT ROWID;
CREATE TABLE process(
    launch INTEGER, pid INTEGER, since REAL, until REAL, user TEXT, command TEXT, role TEXT, device TEXT,
    memory_bytes INTEGER, PRIMARY KEY(launch, pid, device, since)) WITHOUT ROWID;
"""
# The key in `meta` of a launch's newest loss.
LAST_LOSS = "last_loss:{}"
TABLES = frozenset(
    {
        *("meta", "launch", "ending", "series", "newest", "reading", "bucket", "level", "gap"),
        *("step_window", "mark", "alert", "verdict", "process"),
    }
)


@functools.cache
def insert(table: str, names: tuple[str, ...]) -> str:
    """The statement that writes a row, or replaces the one with its key, from a mapping of its columns."""
    places = ", ".join(f":{name}" for name in names)
    return f"INSERT OR REPLACE INTO {table}({', '.join(names)}) VALUES ({places})"


def select(table: str, row: type[Any]) -> str:
    """The statement that reads rows of the class `row`, in the order of its fields."""
    return f"SELECT {', '.join(field.name for field in dataclasses.fields(row))} FROM {table}"
