"""`curves.png`: training loss and validation scores over the epochs."""

import logging
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pylon.storage import atomic_path

logger = logging.getLogger(__name__)


def draw_curves(path: Path, history: list[dict[str, Any]], score: str) -> None:
    """Draw the run's history.

    Args:
        path: the PNG to write (atomically).
        history: one record per finished epoch: 'epoch', 'training_loss', 'learning_rate' and
            'validation' with the aggregated scores (None if undefined). Empty: nothing is drawn.
        score: the score that chooses the best epoch; drawn in front.
    """
    if not history:
        return
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    loss_axes, score_axes = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in history]
    losses = [float("nan") if (loss := record["training_loss"]) is None else loss for record in history]
    loss_axes.plot(epochs, losses, marker=".", color="tab:blue")
    loss_axes.set(xlabel="epoch", ylabel="training loss (mean over steps)", title="training loss")
    for name in dict.fromkeys((score, "mean_iou", "accuracy")):
        values = [record["validation"].get(name) for record in history]
        if any(value is not None for value in values):
            drawn = [float("nan") if value is None else value for value in values]
            score_axes.plot(epochs, drawn, marker=".", label=name, linewidth=2 if name == score else 1)
    score_axes.set(xlabel="epoch", ylabel="score (0..1)", ylim=(-0.02, 1.02), title="validation")
    if score_axes.lines:
        score_axes.legend(loc="best")
    try:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=100)
    except OSError as error:
        # Drawn when a run ends, for whatever reason: a picture must not change that reason.
        logger.warning("%s: could not be written: %s", path, error)
