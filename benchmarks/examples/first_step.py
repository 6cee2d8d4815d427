"""A process that notes its way to the first step of a run, then stops.

`python -m benchmarks.examples.first_step FILE ARGUMENTS`: FILE takes the moment at which the step ended and
the seconds of imports until then; ARGUMENTS are those of `pylon train`. The rehearsal's steps, with an
optimizer of its own, are part of the way. What is imported here above is not counted: nothing that is large.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.training.timed_start import TimedImports

# More than a rehearsal takes with one optimizer.
_STEPS = 8


class FirstSteps:
    """A hook of torch's optimizers.

    Args:
        path: of the JSON file.
        imports: their time.
    """

    def __init__(self, path: Path, imports: TimedImports) -> None:
        self._path, self._imports = path, imports
        self._optimizer: Any = None
        self._done = 0
        self._noted: dict[str, float] = {}

    def __call__(self, optimizer: Any, *_: object) -> None:  # noqa: ANN401 - any optimizer
        """After an optimizer step."""
        if optimizer is not self._optimizer:
            self._optimizer, self._done = optimizer, 0
            self._noted = {"first_step_s": time.monotonic(), "imports_s": self._imports.spent_s}
        self._done += 1
        if self._done == _STEPS:
            self._path.write_text(json.dumps(self._noted), encoding="utf-8")
            os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Run the command."""
    imports = TimedImports()
    imports.install()
    from torch.optim.optimizer import register_optimizer_step_post_hook  # noqa: PLC0415 - an import to time

    from pylon.command import main as command  # noqa: PLC0415 - an import to time

    register_optimizer_step_post_hook(FirstSteps(Path(sys.argv[1]), imports))
    return command(["train", *sys.argv[2:]])


if __name__ == "__main__":
    sys.exit(main())
