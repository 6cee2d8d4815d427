"""How long training waits for a save."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.training.launching import run_on_terminal, write_config
from benchmarks.training.stopwatch import TIMES, Times

WAYS = {
    "by hand": "torch.save of model and optimizer over the former file, by hand",
    "synchronous": "Pylon, synchronous",
    "asynchronous": "Pylon, asynchronous",
}


@dataclass(frozen=True)
class Saves:
    """What saves cost one way.

    Attributes:
        still_s: per save, from the end of its step to the beginning of the next, beyond what lies between
            steps without a save, seconds.
        lost_s: per save, how much longer all steps up to the next save took together, so that what the
            writing at the same time takes away is counted too.
    """

    still_s: list[float]
    lost_s: list[float]


def measure(
    workload: str,
    root: Path,
    *,
    saves: int,
    every_steps: int,
    threads: int,
    ways: Iterable[str] = WAYS,
    device: str = "cpu",
) -> dict[str, Saves]:
    """Train with saves after each so many steps, each way.

    Args:
        workload: a function of `workloads`.
        root: for run directories.
        saves: how many.
        every_steps: steps from save to save; the last ones are to be undisturbed by the writing.
        threads: of torch's operations.
        ways: those that are measured; "by hand" is on the CPU.
        device: of Pylon's runs.
    """
    found = {}
    for way in ways:
        folder = root / f"saves-{way}"
        folder.mkdir()
        steps = (saves + 1) * every_steps
        saving = f"every_steps={every_steps}, asynchronous={way == 'asynchronous'}"
        write_config(folder / "run.py", f"saving({workload}(), {steps}, {saving})", folder / "run")
        by_hand = way == "by hand"
        found[way] = _saves(
            _times(folder, steps, threads, every_steps if by_hand else None, device), every_steps
        )
    return found


def _times(folder: Path, steps: int, threads: int, by_hand: int | None, device: str = "cpu") -> Times:
    config = str(folder / "run.py")
    command = ["main.py", "--config-filepath", config, "--device", device]
    if by_hand is not None:
        trainee = ["-m", "benchmarks.training.trainee", "saved by hand"]
        command = [*trainee, config, str(steps), str(folder), str(by_hand)]
    run_on_terminal(command, {TIMES: str(folder / "times.json")}, threads=threads)
    return Times.read(folder / "times.json")


def _saves(times: Times, every_steps: int) -> Saves:
    """The first save lies between step `every_steps`, counted from 1, and the next."""
    saves = range(every_steps - 1, len(times.whole_s) - every_steps + 1, every_steps)
    # The second half of the steps from save to save: by then the writer is done.
    undisturbed = [step for save in saves for step in range(save + every_steps // 2, save + every_steps)]
    step_s = statistics.median(times.whole_s[step] for step in undisturbed)
    between_s = statistics.median(times.between_s[step] for step in undisturbed)
    return Saves(
        still_s=[times.between_s[save] - between_s for save in saves],
        lost_s=[sum(times.whole_s[save : save + every_steps]) - every_steps * step_s for save in saves],
    )


def seconds_per_step(workload: str, root: Path, *, steps: int, threads: int) -> float:
    """Median seconds of a step of a hand-written loop, the first one left out."""
    folder = root / workload
    folder.mkdir()
    write_config(folder / "run.py", f"watched({workload}(), {steps})", folder / "run")
    times = _times(folder, steps, threads, by_hand=2 * steps)  # which is never
    return statistics.median(times.whole_s[1:])
