"""Errors of a record's file. Each names the file and what to do.

HistoryError
├── HistoryAbsentError    there is no such file
├── HistoryBusyError      another process writes it
├── HistoryVersionError   a newer Pylon wrote it
├── HistoryForeignError   another program's database
└── HistoryDamagedError   it cannot be read
"""

from pathlib import Path


class HistoryError(Exception):
    """Base of all; the text names the file, what is wrong with it, and the fix."""

    def __init__(self, path: Path, problem: str, fix: str) -> None:
        self.path = path
        self.problem = problem
        self.fix = fix
        super().__init__(f"{path}: {problem}. {fix}.")


class HistoryAbsentError(HistoryError):
    """There is no such file."""


class HistoryBusyError(HistoryError):
    """Another process writes it."""


class HistoryVersionError(HistoryError):
    """A newer Pylon wrote it."""


class HistoryForeignError(HistoryError):
    """It is another program's database."""


class HistoryDamagedError(HistoryError):
    """It cannot be read."""
