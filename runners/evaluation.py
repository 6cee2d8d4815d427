"""One pass over a dataset without gradients: predict, score, show."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch

from data import DataLoader
from metrics import BaseMetric
from runners.signals import StopFlag

Batch = dict[str, Any]
OnBatch = Callable[[int, Batch, torch.Tensor], None]


class Task(Protocol):
    """What is learnt: how a batch becomes outputs, and outputs a loss and scores."""

    def training_loss(self, batch: Batch) -> torch.Tensor:
        """The scalar to minimise for this batch."""

    def predict(self, batch: Batch) -> torch.Tensor:
        """The model's outputs for this batch."""

    def score(self, metric: BaseMetric, outputs: torch.Tensor, batch: Batch) -> None:
        """Add each datapoint's scores to the metric's buffer."""


def evaluate(
    model: torch.nn.Module,
    task: Task,
    loader: DataLoader,
    metric: BaseMetric,
    *,
    stop: StopFlag,
    max_batches: int | None,
    on_batch: OnBatch,
) -> None:
    """Fill `metric` with the scores of every datapoint of `loader`.

    Runs in inference mode, so no autograd graph is built; the model is put into evaluation mode
    and given back in training mode if it was.

    Args:
        model: the model that `task` predicts with.
        task: how to predict and score a batch.
        loader: batches, already seeded.
        metric: reset here, told which datapoints the pass has, then filled.
        stop: looked at before every batch.
        max_batches: at most so many batches, None for all.
        on_batch: called after each with the number of batches done, the batch and the outputs.

    Raises:
        RunStopped: a stop was asked for.
    """
    was_training = model.training
    model.eval()
    metric.reset()
    whole = not loader.drop_last and count_batches(loader, max_batches) == len(loader)
    if whole:
        metric.expect(range(len(loader.dataset)))
    try:
        with torch.inference_mode():
            for number, batch in enumerate(limited(loader, max_batches), start=1):
                stop.raise_if_requested()
                if not whole:
                    metric.expect(batch["meta_info"]["idx"])
                outputs = task.predict(batch)
                task.score(metric, outputs, batch)
                on_batch(number, batch, outputs)
    finally:
        model.train(was_training)


def limited(loader: DataLoader, max_batches: int | None) -> Iterator[Batch]:
    """The first `max_batches` batches of `loader`, or all."""
    return itertools.islice(loader, max_batches)


def count_batches(loader: DataLoader, max_batches: int | None) -> int:
    """How many batches `limited` will give."""
    return len(loader) if max_batches is None else min(len(loader), max_batches)
