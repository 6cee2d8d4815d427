"""Runs built to be held back by one thing or by two, and what the verdict names.

    python -m benchmarks.recorder.verdicts      three minutes

It needs root for control groups (version 1), and a C compiler for the stand-in of a GPU driver. What computes
runs alone, the rest at the same time. What this machine cannot build is left out.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.monitors.tables import table
from benchmarks.surroundings import machine
from pylon.recorder.history import open_history
from pylon.recorder.verdict import Verdict, of_history
from tests.monitor.nvml_stand_in import StandIn

_REPOSITORY = Path(__file__).resolve().parents[2]
_GROUPS = Path("/sys/fs/cgroup")
_THROTTLED = "nvmlDeviceGetCurrentClocksThrottleReasons"
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Case:
    """A run.

    Attributes:
        name: what holds it back.
        expected: the verdict.
        parts: of its steps, as `verdict_run` takes them.
        gpu: utilisation of its GPU; None: it has none.
        reasons: why the GPU's clocks are lowered, as the driver's bits.
        quota: of a core, by a control group; memory_bytes: its limit.
        runner_up: the second cause; None: whichever.
        alone: it needs a core.
    """

    name: str
    expected: str
    parts: dict[str, float]
    gpu: int | None = None
    reasons: int = 0
    quota: float | None = None
    memory_bytes: int | None = None
    runner_up: str | None = None
    alone: bool = field(default=False)


CASES = (
    Case("nothing", "none_found", {"asleep": 0.05}),
    Case("a loader that is a little slow", "input_bound", {"wait": 0.005, "asleep": 0.045}),
    Case("a slow loader", "input_bound", {"wait": 0.04, "asleep": 0.02}),
    Case("saves", "checkpoint_bound", {"asleep": 0.05, "save": 0.5}),
    Case("validation", "validation_bound", {"asleep": 0.05, "validate": 1.2}),
    Case("a busy GPU", "gpu_busy", {"asleep": 0.05}, gpu=97),
    Case("an idle GPU", "gpu_idle", {"asleep": 0.05}, gpu=20),
    Case("a hot GPU", "throttled", {"asleep": 0.05}, gpu=97, reasons=0x40, runner_up="gpu_busy"),
    Case("a GPU at its power limit", "throttled", {"asleep": 0.05}, gpu=75, reasons=4),
    Case(
        *("a GPU that waits for its loader", "input_bound", {"wait": 0.04, "asleep": 0.02}),
        gpu=25,
        runner_up="gpu_idle",
    ),
    Case(
        *("a slow loader and saves", "input_bound", {"wait": 0.04, "asleep": 0.02, "save": 0.3}),
        runner_up="checkpoint_bound",
    ),
    Case(
        *("validation and a loader that is a little slow", "validation_bound"),
        {"wait": 0.005, "asleep": 0.045, "validate": 1.5},
        runner_up="input_bound",
    ),
    Case(
        *("nearly full memory of the group", "memory_pressure", {"asleep": 0.05, "fill": 0.97}),
        memory_bytes=360 * _MIB,
    ),
    Case("one full thread", "cpu_bound", {"compute": 0.05}, alone=True),
    Case(
        *("one full thread and an idle GPU", "cpu_bound", {"compute": 0.05}),
        gpu=20,
        runner_up="gpu_idle",
        alone=True,
    ),
    Case("a CPU quota", "throttled", {"compute": 0.02}, quota=0.3, alone=True),
    Case(
        *("a CPU quota and a slow loader", "throttled", {"compute": 0.02, "wait": 0.05}),
        quota=0.2,
        runner_up="input_bound",
        alone=True,
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, print; 1 if a verdict is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each runs (30)")
    parser.add_argument("--only", default="", help="cases whose name has this text")
    options = parser.parse_args(arguments)
    chosen = [one for one in CASES if options.only in one.name]
    with tempfile.TemporaryDirectory() as folder:
        found = run(chosen, Path(folder), options.seconds)
    rows, wrong = [], 0
    for case in chosen:
        if case.name not in found:
            continue
        verdict = found[case.name]
        right = _is_right(case, verdict)
        wrong += not right
        second = verdict.runner_up or ""
        rows.append(
            [case.name, case.expected, verdict.name, second, "" if right else "wrong", verdict.evidence[0]]
        )
    print(f"{machine()}\n")
    print(table(["held back by", "expected", "verdict", "runner-up", "", "evidence"], rows))
    print(f"\n{wrong} of {len(rows)} wrong; {len(chosen) - len(rows)} left out")
    return int(wrong > 0)


def _is_right(case: Case, verdict: Verdict) -> bool:
    return verdict.name == case.expected and case.runner_up in {None, verdict.runner_up}


def run(cases: Sequence[Case], folder: Path, seconds: float) -> dict[str, Verdict]:
    """The verdict on each case that can be built here."""
    found: dict[str, Verdict] = {}
    together = [one for one in cases if not one.alone]
    for group in (together, *([one] for one in cases if one.alone)):
        with contextlib.ExitStack() as stack:
            started = []
            for case in group:
                place = folder / str(cases.index(case))
                place.mkdir()
                with contextlib.suppress(PermissionError, FileNotFoundError):
                    started.append((case, place, stack.enter_context(_started(case, place, seconds))))
            for _, _, process in started:
                process.wait(seconds + 60)
            for case, place, _ in started:
                with open_history(place) as history:
                    found[case.name] = of_history(history, history.launches()[-1].id or 0)
    return found


@contextlib.contextmanager
def _started(case: Case, place: Path, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY), "OMP_NUM_THREADS": "1"}
    stand_in = StandIn(place)
    environment |= stand_in.environment
    with contextlib.ExitStack() as stack:
        groups = [stack.enter_context(_group(kind, case, place)) for kind in ("cpu", "memory")]
        entered = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups if group is not None)
        # What needs a core gets it on a machine that is shared, also by sessions of others.
        urgent = "echo -15 2>/dev/null > /proc/self/autogroup; renice -n -15 -p $$ >/dev/null 2>&1; "
        command = f'{urgent if case.alone and case.quota is None else ""}{entered}exec "$@"'
        process = subprocess.Popen(
            [
                *("sh", "-c", command, "sh", sys.executable, "-m", "benchmarks.recorder.verdict_run"),
                *(str(place), json.dumps(case.parts), str(seconds)),
            ],
            cwd=place,
            env=environment,
            start_new_session=True,
        )
        if case.gpu is None:
            stand_in.behave("gpus 0")
        else:
            stand_in.behave(
                "gpus 1",
                f"process {process.pid} {1024 * _MIB}",
                f"value nvmlDeviceGetUtilizationRates {case.gpu}",
                f"value {_THROTTLED} {case.reasons}",
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _group(kind: str, case: Case, place: Path) -> Iterator[Path | None]:
    """A control group of version 1 with the case's limit; None: it has none."""
    limits = {
        "cpu": None if case.quota is None else ("cpu.cfs_quota_us", round(case.quota * 100_000)),
        "memory": None if case.memory_bytes is None else ("memory.limit_in_bytes", case.memory_bytes),
    }
    limit = limits[kind]
    if limit is None:
        yield None
        return
    group = _GROUPS / kind / f"pylon-verdict-{os.getpid()}-{place.name}"
    group.mkdir()
    try:
        (group / limit[0]).write_text(str(limit[1]))
        yield group
    finally:
        for process in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), 9)
        with contextlib.suppress(OSError):
            group.rmdir()


if __name__ == "__main__":
    sys.exit(main())
