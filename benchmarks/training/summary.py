"""The compact table: medians of everything, as README shows it."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.monitors.tables import table
from benchmarks.training.checkpoints import Saves
from benchmarks.training.contenders import CONTENDERS
from benchmarks.training.instrument import Marks
from benchmarks.training.resume import LongEpoch, Start
from benchmarks.training.steps import REFERENCE
from benchmarks.training.tables import COSTS, Cost, compared, per_turn

_SHOWN = (REFERENCE, "pylon", "lightning", "accelerate")
_WORKLOADS = {
    "demo_hanet": "demo HANet",
    "small_model": "small model",
    "small_model_with_worker": "small model, a loader worker",
}
_COST_WORDS = ("CPU time", "CPU time with that of its other processes", "wall time")
_NOTHING = "-"


@dataclass
class Figures:
    """What has been measured so far.

    Attributes:
        steps: per workload and contender.
        saves: per way to save.
        epoch_s: seconds of an epoch that saves are set against.
        starts: first starts and resumes.
        long_epoch: resumes in the middle of an epoch.
    """

    steps: dict[str, dict[str, list[Marks]]] = field(default_factory=dict)
    saves: dict[str, Saves] = field(default_factory=dict)
    epoch_s: float = 0.0
    starts: dict[str, list[Start]] = field(default_factory=dict)
    long_epoch: LongEpoch | None = None


def summary_table(figures: Figures) -> str:
    """Medians."""
    head = ("", *(CONTENDERS[name].title for name in _SHOWN))
    rows = [*_step_rows(figures), *_save_rows(figures), *_resume_rows(figures)]
    return table(head, rows)


def _step_rows(figures: Figures) -> list[tuple[str, ...]]:
    rows = []
    for workload, found in figures.steps.items():
        step_ms = statistics.median(per_turn(found[REFERENCE], COSTS[0])) * 1e3
        labels = [f"{_WORKLOADS[workload]}, step of {step_ms:.1f} ms", *[_WORKLOADS[workload]] * 2]
        for what, words, cost in zip(labels, _COST_WORDS, COSTS, strict=True):
            rows.append((f"{what}: {words}", *(_beside(found, name, cost) for name in _SHOWN)))
    return rows


def _beside(found: dict[str, list[Marks]], name: str, cost: Cost) -> str:
    if name == REFERENCE:
        return "1"
    if name not in found:
        return "not installed"
    ratio, added_s = (
        statistics.median(compared(found, name, cost, ratio=one_of_two)) for one_of_two in (True, False)
    )
    return f"{ratio:.3f} ({added_s * 1e6:+.0f} us)"


def _save_rows(figures: Figures) -> list[tuple[str, ...]]:
    if not figures.saves:
        return []
    still_s = {way: statistics.median(one.still_s) for way, one in figures.saves.items()}
    row = {way: f"{one_s * 1e3:.0f} ms ({one_s / 60:.2%})" for way, one_s in still_s.items()}
    what = "training waits for a save, HANet and AdamW (share of an epoch of one minute)"
    pylon = f"{row['synchronous']}, asynchronous {row['asynchronous']}"
    return [(what, row["by hand"], pylon, _NOTHING, _NOTHING)]


def _resume_rows(figures: Figures) -> list[tuple[str, ...]]:
    rows = []
    if figures.starts:
        beyond_s = _median_s(figures.starts["resume"])
        rows.append(
            (
                "resume to the end of the first step without rehearsal, s beyond imports",
                _NOTHING,
                beyond_s,
                *[_NOTHING] * 2,
            )
        )
    if figures.long_epoch is not None:
        found = figures.long_epoch
        for place, what in enumerate(("near its start", "near its end")):
            cells = [
                f"{each[place].loaded_again} loaded again, {each[place].beyond_imports_s:.2f} s"
                for each in (found.by_hand, found.pylon)
            ]
            rows.append((f"resume in an epoch of {found.datapoints}, {what}", *cells, *[_NOTHING] * 2))
    return rows


def _median_s(starts: Sequence[Start]) -> str:
    return f"{statistics.median(one.beyond_imports_s for one in starts):.2f}"
