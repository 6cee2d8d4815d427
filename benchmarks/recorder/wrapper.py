"""A command bare, under `pylon run` and under con/duct: its own speed, its start, its exit, and CPU time.

All are run in turns, so that a change of the machine's load meets all alike. The command computes on one core
without a pause, and reports what its own steps took.
"""

import argparse
import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.surroundings import load, machine, versions

# Prints when it begins, the median of its steps, its own CPU time, and when it ends.
_PROGRAM = """
import sys, time
begin = time.monotonic()
steps = []
while time.monotonic() - begin < float(sys.argv[1]):
    step = time.process_time()
    sum(number * number for number in range(20000))
    steps.append(time.process_time() - step)
steps.sort()
print(begin, steps[len(steps) // 2], time.process_time(), time.monotonic())
"""
_LEFT_WITHIN_S = 5.0


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        step_s: median CPU time of a step of the command; other programs of the machine hardly change it.
        start_s: from the start of the whole to that of the command's own code.
        exit_s: from the end of the command's own code to that of the whole.
        cpu_s: CPU time of all processes but the command's.
    """

    step_s: float
    start_s: float
    exit_s: float
    cpu_s: float


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the command computes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="1 second, once: does it still run?")
    options = parser.parse_args()
    seconds, repeats = (1.0, 1) if options.quick else (options.seconds, options.repeats)
    found: dict[str, list[Measured]] = {name: [] for name in _subjects(Path())}
    with tempfile.TemporaryDirectory(prefix="pylon-benchmark-") as folder:
        for number in range(repeats):
            for name, words in _subjects(Path(folder) / str(number)).items():
                found[name].append(_measured(words, seconds))
    print(f"{machine()}; {versions(('psutil', 'con-duct'))}; load average {load()}")
    print(f"{repeats} runs of {seconds:g} s each, in turns; median and range\n")
    print(_table(found, seconds))


def _subjects(folder: Path) -> dict[str, list[str]]:
    """What is put in front of the command."""
    subjects = {
        "bare": [],
        "pylon run": [sys.executable, "-m", "pylon", "run", "--quiet", "--record", f"{folder}/pylon", "--"],
    }
    duct = shutil.which("con-duct", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if duct is not None:
        subjects["duct"] = [duct, "run", "-q", "-p", f"{folder}/duct/", "-c", "none", "--"]
    return subjects


def _measured(words: list[str], seconds: float) -> Measured:
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(seconds)]
    before = _cpu_s()
    begin_s = time.monotonic()
    done = subprocess.run([*words, *command], capture_output=True, text=True, check=True)
    end_s = time.monotonic()
    began_s, step_s, own_cpu_s, ended_s = (float(word) for word in done.stdout.split()[-4:])
    _await_orphans()
    return Measured(step_s, began_s - begin_s, end_s - ended_s, _cpu_s() - before - own_cpu_s)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _await_orphans() -> None:
    """Wait for what a subject leaves to end by itself: this process is the parent of its orphans."""
    until_s = time.monotonic() + _LEFT_WITHIN_S
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until_s:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)


def _table(found: dict[str, list[Measured]], seconds: float) -> str:
    bare = statistics.median(one.step_s for one in found["bare"])
    columns: dict[str, Callable[[Measured], str]] = {
        "CPU time of a step of the command": lambda one: f"x {one.step_s / bare:.3f}",
        "start, ms": lambda one: f"{1000 * one.start_s:.0f}",
        "exit, ms": lambda one: f"{1000 * one.exit_s:.0f}",
        f"CPU of the others in {seconds:g} s, s": lambda one: f"{one.cpu_s:.2f}",
    }
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, runs in found.items():
        cells = []
        for show in columns.values():
            shown = sorted((show(one) for one in runs), key=lambda text: float(text.removeprefix("x ")))
            middle = shown[len(shown) // 2]
            cells.append(middle if shown[0] == shown[-1] else f"{middle} ({shown[0]} to {shown[-1]})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    # The kernel gives this process what its children leave behind.
    from pylon.recorder.wrapper.kernel import adopt_orphans

    adopt_orphans()
    main()
