"""One part, in this process: `python -m tests.gpu.part NAME MODULE:FUNCTION RESULT`, the setting on stdin.

A part has a process of its own: one that hangs, is killed or leaves the device in error ends no other.
"""

import importlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.gpu.outcomes import FAILED, PASSED, SKIPPED, Result, Setting, Skipped


def result_of(name: str, function: str, setting: Setting) -> Result:
    """Run a part to its end. What it raises is for the caller: a part that breaks has not passed."""
    begun_s = time.monotonic()
    module, _, called = function.partition(":")
    run = getattr(importlib.import_module(f"tests.gpu.{module}"), called)
    try:
        report = run(setting)
    except Skipped as skipped:
        return Result(name, SKIPPED, str(skipped), time.monotonic() - begun_s)
    outcome = FAILED if report.failures else PASSED
    seconds = time.monotonic() - begun_s
    return Result(name, outcome, report.figure, seconds, report.failures, report.details)


if __name__ == "__main__":
    # Before torch is imported: sums of floats on the CPU depend on how many threads add them up.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = result_of(sys.argv[1], sys.argv[2], Setting.from_json(sys.stdin.read()))
    Path(sys.argv[3]).write_text(json.dumps(asdict(found)), encoding="utf-8")
