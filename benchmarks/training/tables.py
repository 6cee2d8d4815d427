"""Markdown tables of what was measured: median and, in brackets, the quartiles or least and greatest."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import attrgetter

from benchmarks.monitors.tables import table
from benchmarks.training.checkpoints import WAYS, Saves
from benchmarks.training.contenders import CONTENDERS
from benchmarks.training.instrument import Marks
from benchmarks.training.resume import LongEpoch, Start
from benchmarks.training.steps import COMPARED, REFERENCE, Plan

_MS, _US = 1e3, 1e6
Cost = Callable[[Marks], list[float]]
# Per step: CPU time of the training process, of all its processes, wall time; see Marks.
COSTS: tuple[Cost, ...] = (attrgetter("cpu_s"), attrgetter("all_cpu_s"), attrgetter("wall_s"))


def spread(values: Sequence[float], unit: float = 1.0, digits: int = 1) -> str:
    """Median [least..greatest] of the values times `unit`."""
    if len(values) == 1:
        return f"{values[0] * unit:.{digits}f}"
    return _told((statistics.median(values), min(values), max(values)), unit, digits)


def quartiles(values: Sequence[float], unit: float = 1.0, digits: int = 1) -> str:
    """Median [first..third quartile] of the values times `unit`."""
    if len(values) < 4:
        return spread(values, unit, digits)
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return _told((middle, first, third), unit, digits)


def _told(numbers: tuple[float, float, float], unit: float, digits: int) -> str:
    middle, low, high = (f"{number * unit:.{digits}f}" for number in numbers)
    return f"{middle} [{low}..{high}]"


def step_table(found: Mapping[str, Sequence[Marks]], differences: Mapping[str, float]) -> str:
    """Time per step compared with the hand-written loop's in the same turn: ratios, and what is added."""
    head = (
        "",
        "CPU ms",
        "CPU, ratio",
        "CPU of all its processes, ratio",
        "wall, ratio",
        "CPU added, us",
        "CPU of all its processes added, us",
        "wall added, us",
        f"first {COMPARED} losses differ by",
    )
    rows = [
        (
            CONTENDERS[name].title,
            quartiles(per_turn(rounds, COSTS[0]), _MS, 2),
            *(_beside(found, name, ratio=True)),
            *(_beside(found, name, ratio=False)),
            "0" if differences[name] == 0 else f"{differences[name]:.0e}",
        )
        for name, rounds in found.items()
    ]
    return table(head, rows)


def _beside(found: Mapping[str, Sequence[Marks]], name: str, *, ratio: bool) -> list[str]:
    if name == REFERENCE:
        return ["1" if ratio else "0"] * len(COSTS)
    each = [compared(found, name, cost, ratio=ratio) for cost in COSTS]
    return [quartiles(values, digits=3) if ratio else quartiles(values, _US, 0) for values in each]


def compared(found: Mapping[str, Sequence[Marks]], name: str, cost: Cost, *, ratio: bool) -> list[float]:
    """Per turn, the cost of a contender's step as ratio to the reference's in the same turn, or beyond it."""
    pairs = zip(per_turn(found[name], cost), per_turn(found[REFERENCE], cost), strict=True)
    return [one / other if ratio else one - other for one, other in pairs]


def per_turn(rounds: Sequence[Marks], cost: Cost) -> list[float]:
    """The cost of a step in each turn of all rounds."""
    return list(chain.from_iterable(cost(marks) for marks in rounds))


def step_heading(plan: Plan) -> str:
    """What the step table is of."""
    return (
        f"Time per step: {plan.workload}, {plan.rounds} rounds in fresh processes, {plan.blocks} turns of "
        f"{plan.steps} steps in each after {plan.warm_up} of warm-up, {plan.threads} thread(s); "
        "median [quartiles] over turns"
    )


def saves_heading(workload: str) -> str:
    """What the table of saves is of."""
    what = {"whole_hanet": "HANet in full width and AdamW, 31 MB"}.get(workload, workload)
    return f"Standing still at a save: {what}; median [least..greatest]"


def saves_table(found: Mapping[str, Saves], epoch_s: float) -> str:
    """Each way to save."""
    head = (
        "",
        "training waits, ms",
        f"share of an epoch of {epoch_s:.0f} s (AirChange, here)",
        "share of an epoch of 60 s",
        "all time lost, with slower steps during the write, ms",
        "share of an epoch of 60 s",
    )
    rows = [
        (
            WAYS[way],
            spread(one.still_s, _MS),
            f"{statistics.median(one.still_s) / epoch_s:.5%}",
            f"{statistics.median(one.still_s) / 60:.3%}",
            spread(one.lost_s, _MS),
            f"{statistics.median(one.lost_s) / 60:.3%}",
        )
        for way, one in found.items()
    ]
    return table(head, rows)


def starts_table(found: Mapping[str, Sequence[Start]]) -> str:
    """First starts and resumes."""
    head = ("", "s from the process's start", "of these, imports", "beyond imports")
    rows = [
        (
            name,
            spread([one.whole_s for one in each], digits=2),
            spread([one.imports_s for one in each], digits=2),
            spread([one.beyond_imports_s for one in each], digits=2),
        )
        for name, each in found.items()
    ]
    return table(head, rows)


def long_epoch_heading(found: LongEpoch) -> str:
    """What the table of long epochs is of."""
    return f"Going on in the middle of an epoch of {found.datapoints} datapoints, batches of 4"


def long_epoch_table(found: LongEpoch) -> str:
    """Resumes near the start and near the end."""
    head = ("", "after batch", "datapoints loaded again", "s to the end of the first step, beyond imports")
    ways = {"Pylon": found.pylon, "skipping batches by hand": found.by_hand}
    rows = [
        (name, str(after), str(start.loaded_again), f"{start.beyond_imports_s:.2f}")
        for name, each in ways.items()
        for after, start in zip(found.after, each, strict=True)
    ]
    return table(head, rows)
