"""An evaluation pass: scores to the metric, pictures to the run directory, progress to the display."""

from dataclasses import dataclass
from typing import Any

import torch

from pylon.data import DataLoader
from pylon.metrics import BaseMetric
from pylon.runners.memory import is_out_of_memory, out_of_memory
from pylon.runners.outputs.display import Status
from pylon.runners.outputs.pictures import draw_batch
from pylon.runners.training.context import RunContext
from pylon.runners.training.evaluation import Batch, Task, count_batches, evaluate
from pylon.runners.training.watch import Watch

_LESS_MEMORY = (
    "Try a smaller {}.args.batch_size, fewer num_workers, smaller images, or tile_size of the runner's args."
)


@dataclass(frozen=True)
class EvaluationPass:
    """One evaluation pass.

    Attributes:
        phase: 'validate' or 'test', for the display.
        loader: the data.
        seed: of the loader's order and augmentation.
        max_batches: at most so many batches of all ranks, None for all.
        epoch, epochs: the running epoch and how many there are, for the display.
        pictures: how many datapoints become a picture.
    """

    phase: str
    loader: DataLoader
    seed: int
    max_batches: int | None
    epoch: int = 0
    epochs: int = 1
    pictures: int = 0


def run_pass(
    plan: EvaluationPass,
    model: torch.nn.Module,
    task: Task,
    metric: BaseMetric,
    *,
    context: RunContext,
    watch: Watch,
) -> None:
    """Fill `metric` with `model`'s scores on the plan's data; everything random follows from its seed.

    Raises:
        RunStopped: the ranks have agreed to stop.
        TrainingError: memory is used up.
    """
    batches = count_batches(plan.loader, plan.max_batches)
    drawn = 0

    def on_batch(number: int, batch: Batch, outputs: Any) -> None:  # noqa: ANN401
        nonlocal drawn
        if context.world.writes and drawn < plan.pictures:
            drawn += draw_batch(context.directory.predictions, batch, outputs, plan.pictures - drawn)
        if watch.display.due():
            watch.show(Status(plan.phase, plan.epoch, plan.epochs, step=number, steps=batches))

    try:
        evaluate(
            model,
            task,
            plan.loader,
            metric,
            seed=plan.seed,
            max_batches=plan.max_batches,
            stop=context.stop,
            world=context.world,
            on_batch=on_batch,
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        loader = "test_dataloader" if plan.phase == "test" else "val_dataloader"
        raise out_of_memory(error, watch.monitor, context.device, _LESS_MEMORY.format(loader)) from error
