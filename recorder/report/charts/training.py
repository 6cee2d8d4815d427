"""Charts of the training itself: loss, scores, learning rate, step time and data wait."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pylon.recorder.history import MarkRow, Sample, StepWindow, detail_of
from pylon.recorder.report.charts.grid import Grid, on_grid
from pylon.recorder.report.charts.line import RED, Chart, Line

_MOST_POINTS = 2000


def training_charts(
    windows: Sequence[Sequence[StepWindow]], marks: Sequence[MarkRow], grids: Sequence[Grid]
) -> list[Chart]:
    """The charts of one launch.

    Args:
        windows: those of each grid, as buckets.
        marks: of kinds 'score' and 'learning_rate'; others are passed over.
        grids: of the view.
    """
    loss = Line(
        "loss", tuple(on_grid(g, loss_samples(w)) for g, w in zip(grids, windows, strict=True)), exact=True
    )
    losses = [loss, *_non_finite(windows[0])]
    step = Line("step time", tuple(on_grid(g, step_samples(w)) for g, w in zip(grids, windows, strict=True)))
    wait = Line("data wait", tuple(on_grid(g, wait_samples(w)) for g, w in zip(grids, windows, strict=True)))
    rates = [mark for mark in marks if mark.kind == "learning_rate"]
    scores = [mark for mark in marks if mark.kind == "score"]
    return [
        Chart("loss", "Training loss", "", tuple(losses), zero=False, logs=True),
        Chart("scores", "Validation scores", "", tuple(point_lines(scores)), zero=False),
        Chart("steps", "Step time and wait for data", "seconds", (step, wait), logs=True),
        Chart("learning-rate", "Learning rate", "", tuple(point_lines(rates)), logs=True),
    ]


def loss_samples(windows: Iterable[StepWindow]) -> list[Sample]:
    """The finite losses of step windows."""
    return [
        Sample(w.t, w.width, w.loss_n or w.n, w.loss_min, w.loss_mean, w.loss_max)
        for w in windows
        if w.loss_min is not None and w.loss_mean is not None and w.loss_max is not None
    ]


def step_samples(windows: Iterable[StepWindow]) -> list[Sample]:
    """The step times of step windows."""
    return [
        Sample(w.t, w.width, w.n, w.step_min, w.step_mean, w.step_max)
        for w in windows
        if w.step_min is not None and w.step_mean is not None and w.step_max is not None
    ]


def wait_samples(windows: Iterable[StepWindow]) -> list[Sample]:
    """The exposed waits for data of step windows."""
    return [
        Sample(w.t, w.width, w.n, w.wait_min, w.wait_mean, w.wait_max)
        for w in windows
        if w.wait_min is not None and w.wait_mean is not None and w.wait_max is not None
    ]


def _non_finite(windows: Iterable[StepWindow]) -> list[Line]:
    """Where losses were NaN or infinite, as points at the last finite loss before."""
    points = []
    level = math.nan
    for window in windows:
        level = level if window.loss_mean is None else window.loss_mean
        if window.non_finite and math.isfinite(level):
            points.append((window.t + window.width / 2, level))
    return (
        [Line("NaN or infinite here", points=tuple(_thinned(points)), kind="dots", color=RED)]
        if points
        else []
    )


def point_lines(marks: Iterable[MarkRow]) -> list[Line]:
    """A line for each number in the details of marks."""
    by_name: dict[str, list[tuple[float, float]]] = {}
    for mark in marks:
        for name, value in numbers_of(detail_of(mark), mark.kind.replace("_", " ")).items():
            by_name.setdefault(name, []).append((mark.t, value))
    return [Line(name, points=tuple(_thinned(points))) for name, points in by_name.items()]


def numbers_of(detail: Mapping[str, Any], kind: str) -> dict[str, float]:
    """The numbers in a detail by name, also in a mapping in it; what only counts is left out.

    Args:
        detail: such as {"name": "f1", "value": 0.5} or {"f1": 0.5}.
        kind: what a `value` without a name is called.
    """
    found: dict[str, float] = {}
    named = detail.get("name")
    for name, value in detail.items():
        if isinstance(value, Mapping):
            found |= numbers_of(value, kind)
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            if name in {"epoch", "epochs", "step", "launch", "rank"}:
                continue
            own = named if isinstance(named, str) else kind
            found[own if name == "value" else name] = float(value)
    return found


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Every second, third, ... point and the newest, so that a page stays small."""
    every = -(-len(points) // _MOST_POINTS) or 1
    kept = list(points[::every])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]
