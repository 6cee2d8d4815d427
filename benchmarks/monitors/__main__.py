"""Measure everything and print the tables. See the package's docstring."""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.monitors import aims, faults, measures, tables
from benchmarks.monitors.subjects import GPUS, INTERVAL_S, SUBJECTS
from benchmarks.monitors.trainees import available, prepare
from benchmarks.surroundings import load, machine, versions

_PARTS = ("cpu", "life", "memory", "faults")
_QUICK_FAULTS = (faults.Fault.HANG, faults.Fault.CRASH, faults.Fault.KILL)
_DISTRIBUTIONS = ("numpy", "torch", "psutil", "nvidia-ml-py", "nvitop", "mlflow", "wandb")

_Measured = TypeVar("_Measured")


def main() -> None:
    """Parse, measure, print."""
    options = _parsed()
    begun_s = time.monotonic()
    chosen = [name for name, entry in SUBJECTS.items() if entry.quick or not options.quick]
    subjects = [name for name in chosen if available(name)]
    missing = [name for name in chosen if name not in subjects]
    _print_surroundings(options, missing)
    with tempfile.TemporaryDirectory(prefix="pylon-benchmark-") as folder:
        root = Path(folder)
        if "mlflow" in subjects:
            prepare("mlflow", root)
        _measure(options, subjects, missing, root)
    print(f"\n{time.monotonic() - begun_s:.0f} s in all; load average at the end {load()}")


def _measure(options: argparse.Namespace, subjects: list[str], missing: list[str], root: Path) -> None:
    """Everything in its order; each table is printed as soon as it is known."""
    compared, well, hung, taken = None, {}, {}, {}
    if "cpu" in options.parts:
        rounds = 2 if options.quick else 4 * options.repeats
        compared = measures.side_by_side(subjects, root, options.repeats, options.seconds, rounds)
        _print("CPU time, and wall time of a step in turns", tables.cpu_table(compared))
    if "life" in options.parts:
        readable = [name for name in subjects if name != "none" and SUBJECTS[name].make.readable]
        well = _in_turns(subjects, options.repeats, lambda name: measures.life(name, root, options.look))
        hung = _in_turns(
            readable, options.repeats, lambda name: measures.life_with_hung_driver(name, root, options.look)
        )
        together = {name: [*well[name], *hung.get(name, [])] for name in well}
        _print("latest(), clock included; MLflow and W&B have no such call", tables.look_table(together))
        _print(
            "Start and end; MLflow and W&B with a hung driver: see the faults", tables.life_table(well, hung)
        )
    if "memory" in options.parts:
        taken = _in_turns(subjects, options.repeats, lambda name: measures.memory_taken(name, root))
        versions = {one.torch or "not installed" for each in taken.values() for one in each}
        _print(f"Memory; torch in the training process: {', '.join(versions)}", tables.memory_table(taken))
    if compared or taken:
        _print("Each monitor process", tables.process_table(compared, taken))
    if "faults" in options.parts:
        dealt = _QUICK_FAULTS if options.quick else tuple(faults.Fault)
        found = {fault: faults.outcomes(fault, subjects, root) for fault in dealt}
        _print("Faults; bold: a run without a monitor has no such thing", tables.fault_table(found, missing))
    if "pylon" in subjects:
        own = well.get("pylon", []), hung.get("pylon", []), taken.get("pylon", [])
        _print("Aims", aims.aim_table(compared, *own))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.monitors", description="What monitors cost and what faults do to a run."
    )
    parser.add_argument("--seconds", type=float, default=60, help="of a window of CPU time")
    parser.add_argument("--repeats", type=int, default=3, help="of every measurement but the faults")
    parser.add_argument("--look", type=float, default=2, help="seconds of calls to latest(), per condition")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument(
        "--quick", action="store_true", help="5 s, once, Pylon and the plain thread only, fewer faults"
    )
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.repeats = min(options.seconds, 5), 1
        options.look = min(options.look, 1)
    return options


def _in_turns(
    subjects: list[str], repeats: int, measure: Callable[[str], _Measured]
) -> dict[str, list[_Measured]]:
    """All subjects one after the other, again and again: a slow minute of the machine hits all of them."""
    measured: dict[str, list[_Measured]] = {name: [] for name in subjects}
    for _ in range(repeats):
        for name in subjects:
            measured[name].append(measure(name))
    return measured


def _print_surroundings(options: argparse.Namespace, missing: list[str]) -> None:
    print(
        f"{GPUS} stand-in GPUs, every monitor at {1 / INTERVAL_S:g} Hz; windows of {options.seconds:g} s,"
        f" {options.repeats} repeats: median [least..greatest]"
    )
    print(machine())
    print(versions(_DISTRIBUTIONS))
    for name in missing:
        print(f"{SUBJECTS[name].title}: not installed, not measured")


def _print(heading: str, table: str) -> None:
    print(f"\n### {heading}\n\n{table}", flush=True)


if __name__ == "__main__":
    main()
