"""All runs that a user names, kept up to date at a bounded cost.

A record is read again only when its file or journal has changed, and not before twenty times as long has
passed as the last reading took: however many and long the runs are, reading them takes 5 % of a core at most.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pylon.recorder.history import HistoryError, open_history
from pylon.recorder.report.errors import ReportError
from pylon.recorder.report.find import records_at
from pylon.views.sources.runs import RunNow, read_run

_FIND_EVERY_S = 10.0
# A run that was killed changes no file; that it has ended is to be seen all the same.
_LOOK_AGAIN_S = 5.0
_SHARE = 20
_Stamp = tuple[tuple[int, int], ...]


@dataclass
class _Known:
    path: Path
    stamp: _Stamp = ()
    due_s: float = 0.0
    read_s: float = 0.0
    run: RunNow | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs at one moment.

    Attributes:
        runs: those that go on first, then those that ended last.
        problems: what could not be read, a line for each.
        left_out: how many more there are: of too many, the newest are shown.
    """

    runs: tuple[RunNow, ...] = ()
    problems: tuple[str, ...] = ()
    left_out: int = 0


@dataclass
class RunBoard:
    """The runs below some paths.

    Args:
        paths: run directories, record files, or folders of them, as a user gives them. What does not exist
            yet is looked for again and again.
        most: how many runs are read; those whose records have changed last.
    """

    paths: Sequence[Path]
    most: int = 200
    _known: dict[Path, _Known] = field(default_factory=dict)
    _problems: list[str] = field(default_factory=list)
    _left_out: int = 0
    _find_at_s: float = 0.0

    def refresh(self) -> Runs:
        """Read what has changed and is due; never raises for what is in the records."""
        now_s = time.monotonic()
        if now_s >= self._find_at_s:
            self._find()
            self._find_at_s = time.monotonic() + _FIND_EVERY_S
        for known in self._known.values():
            self._update(known)
        found = [known.run for known in self._known.values() if known.run is not None]
        found.sort(key=lambda run: (run.ending is not None, -run.last_seen))
        problems = [*self._problems, *(known.problem for known in self._known.values() if known.problem)]
        return Runs(tuple(found), tuple(problems), self._left_out)

    def _find(self) -> None:
        problems: list[str] = []
        found: dict[Path, Path] = {}
        for path in self.paths:
            try:
                for record in records_at(path, problems):
                    found.setdefault(record.resolve(), record)
            except ReportError as error:
                problems.append(str(error))
            except OSError as error:
                problems.append(f"{path}: cannot be read ({error.strerror or error})")
        newest = sorted(found.values(), key=lambda record: max(_stamp(record))[0], reverse=True)
        self._left_out = max(0, len(newest) - self.most)
        self._problems = problems
        self._known = {path: self._known.get(path) or _Known(path) for path in newest[: self.most]}

    def _update(self, known: _Known) -> None:
        began_s = time.monotonic()
        if began_s < known.due_s:
            return
        stamp = _stamp(known.path)
        running = known.run is not None and known.run.ending is None
        if stamp == known.stamp and not (running and began_s - known.read_s > _LOOK_AGAIN_S):
            return
        try:
            with open_history(known.path) as history:
                known.run, known.problem = read_run(history, known.path), ""
        except HistoryError as error:
            known.problem = str(error)
        known.stamp, known.read_s = stamp, time.monotonic()
        known.due_s = known.read_s + _SHARE * (known.read_s - began_s)


def _stamp(path: Path) -> _Stamp:
    """Change time and size of a record and its journal; zeros for what is not there."""
    found = []
    for side in ("", "-wal", "-journal"):
        try:
            status = path.with_name(path.name + side).stat()
        except OSError:
            found.append((0, 0))
        else:
            found.append((status.st_mtime_ns, status.st_size))
    return tuple(found)
