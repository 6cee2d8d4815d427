"""Records of runs, read in a thread of their own: a file system that hangs stops that thread alone."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pylon.views.sources.board import RunBoard, Runs

# So long without a look is worth a word: one of many records takes seconds.
_LATE_S = 30.0


class RunReader:
    """The runs below some paths, as they were when they could be read last.

    Args:
        paths: of runs, as a user gives them; none: nothing is read.
        every_s: between two looks at the records.
    """

    def __init__(self, paths: Sequence[Path], every_s: float) -> None:
        self._board = RunBoard(paths) if paths else None
        self._every_s = every_s
        self._note_look()
        self._read_once, self._stop = threading.Event(), threading.Event()
        self._runs = Runs()
        self._problem = ""

    @property
    def runs(self) -> Runs:
        """Those of the last look that succeeded; why there is no newer one is the first of the problems."""
        problems = [*filter(None, (self._late(), self._problem)), *self._runs.problems]
        return replace(self._runs, problems=tuple(problems))

    def _late(self) -> str:
        if self._board is None or time.monotonic() - self._read_at_s <= _LATE_S:
            return ""
        return f"records have not been read since {self._read_at}: their file system may hang"

    def _note_look(self) -> None:
        # The time of day once: worked out at each question, the text could change from one to the next.
        self._read_at_s, self._read_at = time.monotonic(), time.strftime("%H:%M:%S")

    def start(self) -> None:
        """Begin to read."""
        if self._board is None:
            self._read_once.set()
        else:
            threading.Thread(target=self._read, args=(self._board,), name="runs", daemon=True).start()

    def stop(self) -> None:
        """Read no more; a reading that hangs is not waited for."""
        self._stop.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the records have been read once; whether they have."""
        return self._read_once.wait(timeout_s)

    def _read(self, board: RunBoard) -> None:
        while not self._stop.is_set():
            try:
                self._runs, self._problem = board.refresh(), ""
            except Exception as error:  # noqa: BLE001 - one look less; the next may be possible
                self._problem = f"runs: {type(error).__name__}: {error}"
            self._note_look()
            self._read_once.set()
            self._stop.wait(self._every_s)
