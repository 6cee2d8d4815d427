"""`curves.png` while a run goes on: drawn by a process of its own, and once more by the run when it ends.

    end of an epoch ── curves as JSON, in memory ──> python: draws one picture and ends

A thread would hold the interpreter's lock while it draws, and a step would wait for it.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from pylon.runners.outputs.curves import draw_curves

_EVERY_S = 30.0
_WAIT_S = 2.0
_LOWEST_PRIORITY = 19
# With -P the current folder is not on the path: a json.py there is not Python's.
_PROGRAM = f"""
import json, os, sys
os.nice({_LOWEST_PRIORITY})
job = json.load(sys.stdin.buffer)
sys.path[:] = job["sys_path"]
from pylon.runners.outputs.curve_drawing import draw_job
draw_job(job)
"""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

logger = logging.getLogger(__name__)


class CurveDrawing:
    """Draws a run's curves after epochs, and at its end.

    Args:
        path: the PNG.
        score: the score that chooses the best epoch.
        points: what is drawn, see `draw_curves`; bounded, however long the run is.
        every_s: least time between two pictures while the run goes on.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        path: Path,
        score: str,
        points: Callable[[], list[dict[str, Any]]],
        every_s: float = _EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._score = score
        self._points = points
        self._every_s = every_s
        self._clock = clock
        self._drawn_s = clock()
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: BinaryIO | None = None
        self._failed = False

    def epoch_ended(self) -> None:
        """Begin to draw, if the last picture is old enough and done; returns at once and raises nothing."""
        self._look()
        if self._process is not None or self._failed or self._clock() - self._drawn_s < self._every_s:
            return
        self._drawn_s = self._clock()
        try:
            self._start(self._points())
        except (OSError, ValueError) as error:
            self._note(f"{type(error).__name__}: {error}")

    def finish(self) -> None:
        """Draw the last picture in this process; whatever goes wrong is logged."""
        if not self._is_over():
            logger.warning("%s: the process that draws it hangs; it is not drawn again", self._path)
            return
        try:
            draw_curves(self._path, self._points(), self._score)
        except Exception as error:  # noqa: BLE001 - drawn for whatever reason a run ends, which it must not hide
            logger.warning("%s: could not be drawn: %s: %s", self._path, type(error).__name__, error)

    def _is_over(self) -> bool:
        """End the drawing process, whose picture would be older than the last one; whether it has ended."""
        if self._process is None:
            return True
        # First it is waited for: a process that is killed may leave an unfinished file.
        for _ in range(2):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_WAIT_S)
            self._process.kill()
        self._look()
        return self._process is None

    def _start(self, points: list[dict[str, Any]]) -> None:
        job = {
            "sys_path": [str(entry) for entry in sys.path],
            "path": str(self._path.absolute()),
            "points": points,
            "score": self._score,
        }
        with _in_memory("curves") as given, contextlib.ExitStack() as stack:
            given.write(json.dumps(job).encode())
            given.seek(0)
            errors = stack.enter_context(_in_memory("errors"))
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM],
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, **_ONE_THREAD},
                # Ctrl-C on a terminal is for the run.
                start_new_session=True,
            )
            stack.pop_all()
            self._errors = errors

    def _look(self) -> None:
        """Take note of a drawing process that has ended."""
        if self._process is None or self._process.poll() is None or self._errors is None:
            return
        with self._errors as errors:
            if self._process.returncode > 0:
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines()
                self._note(lines[-1] if lines else f"exit code {self._process.returncode}")
        self._process = self._errors = None

    def _note(self, reason: str) -> None:
        self._failed = True
        logger.warning("%s: is drawn at the end of the run only: %s", self._path, reason)


def draw_job(job: dict[str, Any]) -> None:
    """Draw what a run has handed to this process; a run directory that was removed is not made again."""
    path = Path(job["path"])
    if path.parent.is_dir():
        draw_curves(path, job["points"], job["score"])


def _in_memory(name: str) -> BinaryIO:
    return os.fdopen(os.memfd_create(f"pylon-{name}"), "w+b")
