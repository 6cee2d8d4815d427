"""A process whose way to its first step is timed: `python -m benchmarks.training.timed_start FILE STEPS ...`.

FILE takes a JSON object with the moment at which the first optimizer step ended, on the system's
monotonic clock, and with the seconds that were spent on imports until then. After STEPS optimizer steps
the process asks itself to stop, as a batch system would: SIGTERM. What follows is the process itself:
`main.py ARGUMENTS` or `benchmarks.training.trainee ARGUMENTS`.
"""

import builtins
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class TimedImports:
    """Seconds that the main thread spends in import statements, nested ones counted once."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self._import = builtins.__import__
        self._inside = False

    def install(self) -> None:
        """Take the place of Python's own import function."""
        builtins.__import__ = self._timed

    def _timed(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - of __import__
        if self._inside or threading.current_thread() is not threading.main_thread():
            return self._import(*args, **kwargs)
        self._inside = True
        begun_s = time.monotonic()
        try:
            return self._import(*args, **kwargs)
        finally:
            self.spent_s += time.monotonic() - begun_s
            self._inside = False


class FirstSteps:
    """A hook of torch's optimizers that notes the first step's end and stops the process some steps later.

    Args:
        path: of the JSON file.
        steps: after so many the process asks itself to stop.
        imports: their time until the first step's end is noted.
    """

    def __init__(self, path: Path, steps: int, imports: TimedImports) -> None:
        self._path, self._steps, self._imports = path, steps, imports
        self._done = 0

    def __call__(self, *_: object) -> None:
        """After an optimizer step."""
        self._done += 1
        if self._done == 1:
            content = {"first_step_s": time.monotonic(), "imports_s": self._imports.spent_s}
            self._path.write_text(json.dumps(content), encoding="utf-8")
        if self._done == self._steps:
            os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Time the process that the command line describes."""
    imports = TimedImports()
    imports.install()
    path, steps, what, *arguments = sys.argv[1:]
    from torch.optim.optimizer import register_optimizer_step_post_hook  # noqa: PLC0415 - timed

    register_optimizer_step_post_hook(FirstSteps(Path(path), int(steps), imports))
    return _program(what)(arguments)


def _program(what: str) -> Callable[[list[str]], int]:
    if what == "main.py":
        from main import main as program  # noqa: PLC0415 - timed
    else:
        from benchmarks.training.trainee import main as program  # noqa: PLC0415 - timed
    return program


if __name__ == "__main__":
    sys.exit(main())
