"""The file of a record: its tables, its one writer and its readers.

    HistoryWriter ── one transaction per tick ──> history.sqlite ── copy ──> open_history

schema         the tables
rows, columns  what is written and read, as classes; columns of JSON
place, database, store     the file, opened by its writer; one transaction
thinning, step_windows, bounds     what keeps it under its limit
copying, levels, reading   the file, opened by its readers
"""

from pylon.recorder.history.columns import detail_of, json_column
from pylon.recorder.history.errors import (
    HistoryAbsentError,
    HistoryBusyError,
    HistoryDamagedError,
    HistoryError,
    HistoryForeignError,
    HistoryVersionError,
)
from pylon.recorder.history.place import is_written
from pylon.recorder.history.reading import History, open_history
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
from pylon.recorder.history.schema import VERSION
from pylon.recorder.history.writer import HistoryWriter

__all__ = [
    "VERSION",
    "AlertRow",
    "EndingRow",
    "Gap",
    "History",
    "HistoryAbsentError",
    "HistoryBusyError",
    "HistoryDamagedError",
    "HistoryError",
    "HistoryForeignError",
    "HistoryVersionError",
    "HistoryWriter",
    "LaunchRow",
    "MarkRow",
    "ProcessRow",
    "Sample",
    "SeriesKey",
    "StepWindow",
    "VerdictRow",
    "detail_of",
    "is_written",
    "json_column",
    "open_history",
]
