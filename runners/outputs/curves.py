"""`curves.png`: training loss and validation scores over the epochs."""

import math
from pathlib import Path
from typing import Any

from pylon.storage import atomic_path

# More than the picture has columns of pixels for a curve.
_MOST_POINTS = 1000


class CurvePoints:
    """What the curves need of each epoch; of a long run, of every second, fourth, ... epoch and the newest.

    Which epochs these are follows from how many there are, so a resumed run draws the same curves.

    Args:
        score: the score that chooses the best epoch.
    """

    def __init__(self, score: str) -> None:
        self._names = _names(score)
        self._stride = 1
        self._points: list[dict[str, Any]] = []
        self._newest: list[dict[str, Any]] = []

    def add(self, record: dict[str, Any]) -> None:
        """Take in the record of the next finished epoch."""
        scores = {name: record["validation"].get(name) for name in self._names}
        loss = record.get("training_loss")
        point = {"epoch": record["epoch"], "training_loss": loss, "validation": scores}
        self._newest = [point]
        if point["epoch"] % self._stride == 0:
            self._points.append(point)
        if len(self._points) > _MOST_POINTS:
            self._stride *= 2
            self._points = [one for one in self._points if one["epoch"] % self._stride == 0]

    def chosen(self) -> list[dict[str, Any]]:
        """The points to draw, in order: for `draw_curves`."""
        return self._points + [one for one in self._newest if one not in self._points[-1:]]


def draw_curves(path: Path, history: list[dict[str, Any]], score: str) -> None:
    """Draw the run's history.

    Args:
        path: the PNG to write (atomically).
        history: 'epoch', 'training_loss' and 'validation' with aggregated scores (None if undefined) of
            finished epochs, as `CurvePoints` chooses them. Empty: nothing is drawn.
        score: the score that chooses the best epoch; drawn in front.

    Raises:
        OSError: it cannot be written.
    """
    if not history:
        return
    # Takes half a second, which a run need not spend before its first step.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    loss_axes, score_axes = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in history]
    losses = [float("nan") if (loss := record["training_loss"]) is None else loss for record in history]
    loss_axes.plot(epochs, losses, marker=".", color="tab:blue")
    loss_axes.set(xlabel="epoch", ylabel="training loss (mean over steps)", title="training loss")
    seen: list[float] = []
    for name in _names(score):
        values = [record["validation"].get(name) for record in history]
        if any(value is not None for value in values):
            drawn = [float("nan") if value is None else value for value in values]
            seen += [value for value in drawn if math.isfinite(value)]
            score_axes.plot(epochs, drawn, marker=".", label=name, linewidth=2 if name == score else 1)
    score_axes.set(xlabel="epoch", ylabel="score", title="validation")
    if all(0 <= value <= 1 for value in seen):
        # The same scale for every run, so that pictures can be compared; errors have no such range.
        score_axes.set(ylabel="score (0..1)", ylim=(-0.02, 1.02))
    for axes in (loss_axes, score_axes):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if score_axes.lines:
        score_axes.legend(loc="best")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _names(score: str) -> tuple[str, ...]:
    """The scores that are drawn."""
    return tuple(dict.fromkeys((score, "mean_iou", "accuracy")))
