"""Time per training step: all contenders in turns, in fresh processes each round; did all train the same?"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.training.contenders import CONTENDERS
from benchmarks.training.instrument import BLOCKS, MARKS, STEPS, WARM_UP, Marks
from benchmarks.training.launching import Launched, write_config
from benchmarks.training.turns import TURNS, Turns

REFERENCE = "hand-written"
# The first steps decide whether all do the same. Later, kernels that add up in another order may drift apart.
COMPARED = 30
TOLERANCE = 1e-5


class UnequalError(Exception):
    """The contenders did not do the same, so that their times cannot be compared."""


@dataclass(frozen=True)
class Plan:
    """How one workload is measured.

    Attributes:
        workload: a function of `workloads`.
        warm_up: steps that do not count; the monitors' processes have started by then.
        steps: steps of a block, which is a turn.
        blocks: turns of each process.
        rounds: processes per contender.
        contenders: names, the reference among them.
        threads: of torch's operations.
    """

    workload: str
    warm_up: int
    steps: int
    blocks: int
    rounds: int
    contenders: Sequence[str]
    threads: int


def measure(plan: Plan, root: Path) -> dict[str, list[Marks]]:
    """Train with everybody, one round after the other.

    Raises:
        FailedProcessError: a process failed.
        UnequalError: a contender did not log every step's loss.
    """
    found: dict[str, list[Marks]] = {name: [] for name in plan.contenders}
    for number in range(plan.rounds):
        folder = root / f"{plan.workload}-{number}"
        folder.mkdir()
        for name, marks in _round(plan, folder).items():
            found[name].append(marks)
    return found


def check_equal(plan: Plan, found: Mapping[str, Sequence[Marks]]) -> None:
    """Raises UnequalError where the first losses differ by more than the tolerance."""
    for name, difference in differences(found).items():
        if not difference <= TOLERANCE:
            raise UnequalError(
                f"{plan.workload}: losses of {CONTENDERS[name].title} and of {CONTENDERS[REFERENCE].title} "
                f"differ by {difference:.1e} within {COMPARED} steps, more than {TOLERANCE:.0e}"
            )


def _round(plan: Plan, root: Path) -> dict[str, Marks]:
    """One process each; all wait but the one whose turn it is."""
    # One step more than is measured ends the last block.
    steps = plan.warm_up + plan.blocks * plan.steps + 1
    with contextlib.ExitStack() as stack:
        each = {}
        for number, name in enumerate(plan.contenders):
            folder = root / str(number)
            folder.mkdir()
            write_config(folder / "run.py", f"measured({plan.workload}(), {steps})", folder / "run")
            turns = stack.enter_context(Turns(folder / "turns"))
            environment = {
                TURNS: str(folder / "turns"),
                MARKS: str(folder / "marks.json"),
                WARM_UP: str(plan.warm_up),
                STEPS: str(plan.steps),
                BLOCKS: str(plan.blocks),
            }
            command = CONTENDERS[name].command(name, folder / "run.py", steps, folder)
            process = stack.enter_context(Launched(command, environment, threads=plan.threads))
            turns.until_it_waits(process)
            each[name] = folder, turns, process
        for _ in range(plan.blocks):
            for _, turns, process in each.values():
                turns.go()
                turns.until_it_waits(process)
        for _, turns, process in each.values():
            turns.go()
            process.wait()
        return {name: _read(name, folder, steps) for name, (folder, _, _) in each.items()}


def _read(name: str, folder: Path, steps: int) -> Marks:
    marks, logged = Marks.read(folder / "marks.json"), CONTENDERS[name].logged(folder)
    same = all(
        math.isclose(one, other, rel_tol=TOLERANCE) for one, other in zip(logged, marks.losses, strict=False)
    )
    if len(logged) != steps or not same:
        raise UnequalError(
            f"{CONTENDERS[name].title} logged {len(logged)} losses for {steps} steps, "
            "or others than it computed"
        )
    return marks


def differences(found: Mapping[str, Sequence[Marks]]) -> dict[str, float]:
    """Per contender, the largest relative difference of a loss from the reference's, over the first steps."""
    expected = found[REFERENCE][0].losses[:COMPARED]
    return {
        name: max(
            abs(loss - right) / abs(right) if math.isfinite(loss) else math.inf
            for marks in rounds
            for loss, right in zip(marks.losses[:COMPARED], expected, strict=True)
        )
        for name, rounds in found.items()
    }
