"""The way of a new run to its first step, in a process of its own: see `first_step`."""

import json
import time
from pathlib import Path

from benchmarks.training.launching import run_on_terminal
from benchmarks.training.resume import Start

_STOPPED = 75


def first_start(config: str, folder: Path) -> Start:
    """The way of a new run to the end of its first step.

    Args:
        config: the configuration file.
        folder: for the run directory.
    """
    folder.mkdir()
    noted = folder / "first_step.json"
    train = ["--config-filepath", config, "--work-dir", str(folder / "run"), "--device", "cpu"]
    begun_s = time.monotonic()
    run_on_terminal(
        ["-m", "benchmarks.examples.first_step", str(noted), *train], {}, threads=1, expected=_STOPPED
    )
    content = json.loads(noted.read_text(encoding="utf-8"))
    return Start(content["first_step_s"] - begun_s, content["imports_s"])
