"""Measure everything and print the tables. See the package's docstring."""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.surroundings import load, machine, versions
from benchmarks.training import checkpoints, resume, steps, tables
from benchmarks.training.contenders import CONTENDERS
from benchmarks.training.launching import REPOSITORY, FailedProcessError
from benchmarks.training.summary import Figures, summary_table
from pylon.configs.common.datasets import dataset_root
from pylon.data.change_detection.demo.write import write_demo

_PARTS = ("steps", "checkpoints", "resume", "mid-epoch")
_DISTRIBUTIONS = ("torch", "numpy", "lightning", "accelerate")
# In a step of the demo it cannot be seen.
_DATA_LAYER = "Pylon's data"
# An epoch of AirChange: 12 images, 312 crops each, in batches of 4.
_STEPS_PER_EPOCH = 12 * 312 // 4


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        plans: per workload: steps of warm-up, steps of a turn, turns of a round.
        saves: workload whose state is saved, checkpoints each way, and steps from one to the next.
        epoch: workload that defines how long an epoch is, and its steps.
        resumed: workload of the resumes.
        datapoints: of the long epoch.
    """

    plans: dict[str, tuple[int, int, int]]
    saves: tuple[str, int, int]
    epoch: tuple[str, int]
    resumed: str
    datapoints: int


_WHOLE = Size(
    {
        "demo_hanet": (8, 2, 10),
        # A second and more, in which a display is drawn no more often than in a run of its own.
        "small_model": (500, 300, 5),
        "small_model_with_worker": (500, 300, 5),
    },
    ("whole_hanet", 8, 25),
    ("real_step", 4),
    "demo_hanet",
    12_000,
)
_QUICK = Size({"small_model": (35, 10, 4)}, ("small_model", 2, 10), ("small_model", 4), "small_model", 400)


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure, print. 0, or 1 where a process failed or the contenders did not train the same."""
    options = _parsed(arguments)
    begun_s = time.monotonic()
    print(machine())
    print(versions(_DISTRIBUTIONS))
    for entry in CONTENDERS.values():
        if not entry.available:
            print(f"{entry.title}: not installed, not measured")
    figures = Figures()
    try:
        with tempfile.TemporaryDirectory(prefix="pylon-") as folder:
            _measure(options, Path(folder), figures)
    except (FailedProcessError, steps.UnequalError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _print("Summary", summary_table(figures))
    print(f"\n{time.monotonic() - begun_s:.0f} s in all; load average at the end {load()}")
    return 0


def _measure(options: argparse.Namespace, root: Path, figures: Figures) -> None:
    """Everything in its order; each table is printed as soon as it is known."""
    size, threads = (_QUICK if options.quick else _WHOLE), options.threads
    if not options.quick:
        _provide_demo_data(root)
    if "steps" in options.parts:
        names = [name for name, entry in CONTENDERS.items() if entry.available]
        for workload, (warm_up, block, blocks) in size.plans.items():
            chosen = [name for name in names if name != _DATA_LAYER or workload == "small_model"]
            plan = steps.Plan(workload, warm_up, block, blocks, options.rounds, chosen, threads)
            found = steps.measure(plan, root)
            steps.check_equal(plan, found)
            figures.steps[workload] = found
            _print(tables.step_heading(plan), tables.step_table(found, steps.differences(found)))
        print("\n".join(["", *(f"- {CONTENDERS[name].title}: {CONTENDERS[name].does}" for name in names)]))
    if "checkpoints" in options.parts:
        saved, saves, every = size.saves
        figures.saves = checkpoints.measure(saved, root, saves=saves, every_steps=every, threads=threads)
        step_s = checkpoints.seconds_per_step(size.epoch[0], root, steps=size.epoch[1], threads=threads)
        figures.epoch_s = _STEPS_PER_EPOCH * step_s
        _print(tables.saves_heading(saved), tables.saves_table(figures.saves, figures.epoch_s))
    if "resume" in options.parts:
        figures.starts = resume.starts(size.resumed, root, rounds=options.rounds, threads=threads)
        _print(f"To the end of the first step: {size.resumed}", tables.starts_table(figures.starts))
    if "mid-epoch" in options.parts:
        figures.long_epoch = resume.long_epoch(root, datapoints=size.datapoints, threads=threads)
        _print(tables.long_epoch_heading(figures.long_epoch), tables.long_epoch_table(figures.long_epoch))


def _provide_demo_data(root: Path) -> None:
    """The demo's data where they are, or made here for the time of the benchmark."""
    if not (REPOSITORY / dataset_root("demo_air_change")).is_dir():
        write_demo(root / "demo_air_change", seed=0)
        os.environ["PYLON_DATASETS"] = str(root)


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description="What Pylon's training costs, next to others."
    )
    parser.add_argument("--rounds", type=int, default=4, help="fresh processes for steps and resumes")
    parser.add_argument("--threads", type=int, default=1, help="of torch's operations; 1: CPU time is work")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument("--quick", action="store_true", help="everything once and tiny: does it run?")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds = 1
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads: expected 1 or more")
    return options


def _print(heading: str, table: str) -> None:
    print(f"\n### {heading}\n\n{table}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
