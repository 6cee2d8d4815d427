"""One pass over a dataset without gradients: predict and score."""

from collections.abc import Callable, Sized
from typing import Any, Protocol

import torch

from pylon.data import DataLoader
from pylon.metrics import BaseMetric
from pylon.metrics.base_metric import Part
from pylon.runners.distributed import AgreedStop, World
from pylon.runners.training.groups import evaluation_rounds

Batch = dict[str, Any]
OnBatch = Callable[[int, Batch, Any], None]


class Task(Protocol):
    """What is learnt: how a batch becomes outputs, and outputs a loss and scores."""

    def training_loss(self, batch: Batch) -> torch.Tensor:
        """The scalar to minimise for this batch."""

    def predict(self, batch: Batch) -> Any:  # noqa: ANN401 - whatever the model gives
        """The model's outputs for this batch."""

    def score(self, metric: BaseMetric, outputs: Any, batch: Batch) -> None:  # noqa: ANN401
        """Add each datapoint's scores to the metric's buffer."""


def evaluate(
    model: torch.nn.Module,
    task: Task,
    loader: DataLoader,
    metric: BaseMetric,
    *,
    seed: int,
    max_batches: int | None,
    stop: AgreedStop,
    world: World,
    on_batch: OnBatch,
) -> None:
    """Fill `metric` with the scores of every datapoint of `loader`, on each rank with all of them.

    The ranks share the batches, which are those of one process: none is padded, and none evaluated twice.

    Runs in inference mode, so no autograd graph is built; the model is put into evaluation mode
    and back into training mode if it was in that.

    Args:
        model: the model that `task` predicts with.
        task: how to predict and score a batch.
        loader: the batches.
        metric: reset here, then filled; it knows which datapoints to expect.
        seed: of the loader's order and augmentation.
        max_batches: at most so many batches of all ranks, None for all.
        stop: the ranks meet in it before every batch.
        world: the ranks that evaluate together.
        on_batch: called after each with the number of batches done, the batch and the outputs.

    Raises:
        RunStopped: the ranks have agreed to stop.
    """
    was_training = model.training
    model.eval()
    metric.reset()
    total = count_batches(loader, max_batches)
    whole = loader.takes_each_once and total == len(loader)
    if whole and isinstance(loader.dataset, Sized):
        metric.expect(range(len(loader.dataset)))
    at_most = total if loader.stream is None else max_batches
    rounds = evaluation_rounds(loader, seed, at_most, world, stop)
    try:
        with torch.inference_mode():
            for number, batch in enumerate(rounds, start=1):
                if batch is None:
                    break  # the last round has no batch for this rank, and no meeting follows it
                if not whole:
                    metric.expect(batch["meta_info"]["idx"])
                outputs = task.predict(batch)
                task.score(metric, outputs, batch)
                done = number * world.size
                on_batch(done if total is None else min(done, total), batch, outputs)
    finally:
        model.train(was_training)
    if world.size > 1:
        metric.merge([Part(**one) for one in world.gather(vars(metric.part()))])


def count_batches(loader: DataLoader, max_batches: int | None) -> int | None:
    """How many batches a pass over `loader` has; of a stream, how many at most, None if unknown."""
    count = len(loader) if loader.stream is None else loader.stream.most
    known = [one for one in (count, max_batches) if one is not None]
    return min(known, default=None)
