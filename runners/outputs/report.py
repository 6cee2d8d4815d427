"""Scores for people: the run's own next to those of predictions that look at no image."""

import datetime
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from pylon.data import DataLoader, StreamDataset
from pylon.metrics.directions import Direction, is_better

logger = logging.getLogger(__name__)

Scores = dict[str, float | None]


def report_start(
    model: torch.nn.Module, device: torch.device, train_loader: DataLoader, val_loader: DataLoader
) -> None:
    """Log what is trained, and on how much."""
    logger.info(
        "%s with %s parameters on %s; %s training and %s validation datapoints",
        type(model).__name__,
        f"{sum(parameter.numel() for parameter in model.parameters()):,}",
        device,
        *(
            "an unknown number of" if one is None else one
            for one in map(_datapoints, (train_loader, val_loader))
        ),
    )


def _datapoints(loader: DataLoader) -> int | None:
    return loader.dataset.length if isinstance(loader.dataset, StreamDataset) else len(loader.dataset)


def warn_of_idle_ranks(batches: int | None, ranks: int) -> None:
    """Log that some processes of a run never have a batch of their own, if that is so.

    Args:
        batches: of an epoch of training, None if unknown.
        ranks: processes that share them.
    """
    if batches is not None and batches < ranks:
        logger.warning(
            "train_dataset gives %d batches per epoch, for %d processes: %d of them only repeat a batch of "
            "another one, which does not count. Use fewer processes (torchrun --nproc-per-node) or a smaller "
            "train_dataloader.args.batch_size.",
            batches,
            ranks,
            ranks - batches,
            extra={"of_all_ranks": True},
        )


def report_scores(
    split: str, score: str, scores: Scores, baselines: dict[str, Scores], direction: Direction
) -> bool | None:
    """Log the leading score of `split` next to the same score of each baseline, then the other scores.

    A score that is not better than the best baseline is a warning: such a model has learnt nothing of use.

    Args:
        split: 'validation' or 'test'.
        score: the leading score's name.
        scores: all aggregated scores, None if undefined.
        baselines: per baseline the same scores.
        direction: which way the leading score is better.

    Returns:
        Whether the leading score is better than that of every baseline; None if no baseline has one.
    """
    compared = ", ".join(f"{name} {_text(values.get(score))}" for name, values in baselines.items())
    logger.info("%s %s: %s (baselines: %s)", split, score, _text(scores.get(score)), compared or "none")
    others = ", ".join(f"{name} {_text(value)}" for name, value in scores.items() if name != score)
    if others:
        logger.info("%s, other scores: %s", split, others)
    known = {name: value for name, values in baselines.items() if (value := values.get(score)) is not None}
    if not known:
        return None
    unbeaten = [name for name, value in known.items() if not is_better(direction, scores.get(score), value)]
    if unbeaten:
        logger.warning(
            "%s %s: %s is not better than predictions that look at no input: %s. Look at the loss in "
            "curves.png, the learning rate, and the labels.",
            split,
            score,
            _text(scores.get(score)),
            ", ".join(f"{name} ({_text(known[name])})" for name in unbeaten),
            extra={"of_all_ranks": True},
        )
    return not unbeaten


def warn_of_undefined_score(score: str, epochs: int, tested: int) -> None:
    """Log that no epoch of a run could be judged.

    Args:
        score: by which they should have been.
        epochs: how many there are.
        tested: index of the one whose weights are tested all the same.
    """
    logger.warning(
        "validation %s was undefined (None or NaN) in all %d epochs, so that none is the best. The weights "
        "of epoch %d are tested. Look at what the metric computes %s from, and at the validation data.",
        score,
        epochs,
        tested + 1,
        score,
        extra={"of_all_ranks": True},
    )


def report_skipped(skipped: int, steps: int) -> None:
    """Log how many of a run's steps were left out, if any: of a run that left out all, nothing was learnt."""
    if not skipped:
        return
    level = logging.WARNING if skipped == steps else logging.INFO
    logger.log(
        level,
        "%d of %d steps were left out, as a number was NaN or infinite%s",
        skipped,
        steps,
        ": the weights are those that the run began with. Use stepping.args.precision='bfloat16' or "
        "'float32', shrink the loss, or look at the data."
        if skipped == steps
        else "",
    )


def report_epoch(
    record: dict[str, Any], epochs: int, score: str, *, is_best: bool, left: str | None = None
) -> None:
    """Log a finished epoch's record from the history: loss, leading score, time, and the `time_left`."""
    skipped = record.get("skipped_steps")
    logger.info(
        "epoch %d/%d: loss %s, validation %s %s%s, %.1f s%s%s",
        record["epoch"] + 1,
        epochs,
        _text(record["training_loss"]),
        score,
        _text(record["validation"][score]),
        " (best)" if is_best else "",
        record["training_time_s"] + record["validation_time_s"],
        f"; {skipped} of its steps left out, as a number was NaN or infinite" if skipped else "",
        "" if left is None else f"; {left}",
    )


def time_left(
    epoch_times_s: Sequence[float],
    epochs_left: int,
    *,
    may_stop_early: bool = False,
    now: Callable[[], datetime.datetime] = datetime.datetime.now,
) -> str | None:
    """When the training is expected to end, from the times of its last epochs; None if it has ended.

    Args:
        epoch_times_s: how long the last epochs took.
        epochs_left: how many are to come.
        may_stop_early: whether it may end before the last one.
        now: the local time.
    """
    if epochs_left <= 0 or not epoch_times_s:
        return None
    left_s = epochs_left * sum(epoch_times_s) / len(epoch_times_s)
    about = "at most about" if may_stop_early else "about"
    try:
        end = f"{now() + datetime.timedelta(seconds=left_s):%Y-%m-%d %H:%M}"
    except OverflowError:
        return f"training ends in {about} {_duration(left_s)}"
    return f"training ends in {about} {_duration(left_s)}, {end}"


def _duration(time_s: float) -> str:
    """A time with the two units that matter."""
    minutes, days, hours = round(time_s / 60), int(time_s // 86400), int(time_s % 86400 // 3600)
    if time_s < 90:
        return f"{time_s:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if days == 0:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{days} d {hours} h"


def mean_of_finite(losses: Iterable[float]) -> float | None:
    """The mean of those losses of an epoch's steps that are finite; None if none is."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    return sum(finite) / len(finite) if finite else None


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
