"""Supervised learning of one label: model(**inputs) against the datapoint's only label."""

from collections.abc import Sequence
from typing import Literal

import torch

from pylon.metrics import BaseMetric
from pylon.models import tiled_logits
from pylon.runners.config.contracts import checked_loss
from pylon.runners.errors import TrainingError
from pylon.runners.run_directory.retention import Retention
from pylon.runners.training.base_evaluator import BaseEvaluator
from pylon.runners.training.base_runner import RunContext
from pylon.runners.training.base_trainer import BaseTrainer
from pylon.runners.training.early_stopping import EarlyStopping
from pylon.runners.training.evaluation import Batch, Task
from pylon.runners.training.stepping import Stepping


class SupervisedSingleTask:
    """One model, one label. A task of one's own can inherit from it and replace any of its methods.

    Args:
        model: called as `model(**inputs)`, gives logits (B, num_classes, H, W).
        criterion: called as `criterion(logits, target)`, gives a scalar; None where nothing is trained.
        device: where each batch goes.
        tile_size: predict on overlapping square tiles of so many pixels; None: the whole image at once.
        tile_overlap: overlap of neighbouring tiles, pixels.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        criterion: torch.nn.Module | None,
        device: torch.device,
        *,
        tile_size: int | None = None,
        tile_overlap: int = 0,
    ) -> None:
        self.model = model
        self.criterion = criterion
        self._device = device
        self._tile_size = tile_size
        self._tile_overlap = tile_overlap

    def training_loss(self, batch: Batch) -> torch.Tensor:
        """See Task."""
        return self.loss(self.model(**self.inputs(batch)), batch)

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The criterion's loss of `logits` (B, num_classes, H, W) for a batch, a scalar.

        Raises:
            TrainingError: there is no criterion, or it gives no scalar.
        """
        if self.criterion is None:
            raise TrainingError("criterion: None, but a training loss was asked for.")
        return checked_loss(
            self.criterion(logits, self.target(batch)), f"criterion {type(self.criterion).__name__}"
        )

    def predict(self, batch: Batch) -> torch.Tensor:
        """See Task. Tiles are predicted one after another; each pixel appears once in the result."""
        inputs = self.inputs(batch)
        if self._tile_size is None:
            logits: torch.Tensor = self.model(**inputs)
            return logits
        return tiled_logits(self.model, inputs, tile_size=self._tile_size, overlap=self._tile_overlap)

    def score(self, metric: BaseMetric, outputs: torch.Tensor, batch: Batch) -> None:
        """See Task."""
        metric.update(outputs, self.target(batch), batch["meta_info"]["idx"])

    def inputs(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The batch's inputs by name, (B, C, H, W) each, on the run's device."""
        return {name: value.to(self._device, non_blocking=True) for name, value in batch["inputs"].items()}

    def target(self, batch: Batch) -> torch.Tensor:
        """The batch's only label, (B, H, W) int64, on the run's device.

        Raises:
            TrainingError: there is no label, or more than one.
        """
        labels: dict[str, torch.Tensor] = batch["labels"]
        if len(labels) != 1:
            raise TrainingError(f"labels: {sorted(labels)}, but a single-task run needs exactly one label.")
        return next(iter(labels.values())).to(self._device, non_blocking=True)


class SupervisedSingleTaskTrainer(BaseTrainer):
    """Trains one model on one label.

    Args:
        context: what the launcher gives; not part of a configuration.
        score: aggregated validation score that chooses the best epoch.
        max_batches_per_epoch: at most so many batches of each pass; None for all.
        predictions: how many test datapoints become a picture.
        log_every_steps: losses leave the device and reach `metrics.jsonl` in groups of so many steps.
        scheduler_interval: 'epoch' or 'step': what one step of the scheduler is.
        deterministic: ask torch for deterministic kernels, and add up the ranks' gradients in a fixed order.
        checkpoint_every_steps: also save after each so many steps of the run; None: at epochs' ends only.
        checkpoint_every_minutes: also save when the last save is so long ago; None: at epochs' ends only.
        asynchronous_checkpoints: write them in a thread beside the training.
        stepping: how a step is taken; None: one batch, float32.
        retention: which checkpoints stay; None: the newest and the best.
        early_stopping: when to end before the last epoch; None: never.
        initial_checkpoint: the checkpoint whose weights the model starts with, see BaseTrainer; None: none.
        initial_prefixes: take over only the weights whose names begin so; None: all.
        tile_size: validate and test on overlapping square tiles of so many pixels; None: whole images.
        tile_overlap: overlap of neighbouring tiles, pixels.
    """

    def __init__(
        self,
        context: RunContext,
        *,
        score: str,
        max_batches_per_epoch: int | None = None,
        predictions: int = 8,
        log_every_steps: int = 10,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        deterministic: bool = True,
        checkpoint_every_steps: int | None = None,
        checkpoint_every_minutes: float | None = None,
        asynchronous_checkpoints: bool = False,
        stepping: Stepping | None = None,
        retention: Retention | None = None,
        early_stopping: EarlyStopping | None = None,
        initial_checkpoint: str | None = None,
        initial_prefixes: Sequence[str] | None = None,
        tile_size: int | None = None,
        tile_overlap: int = 0,
    ) -> None:
        super().__init__(
            context,
            score=score,
            max_batches_per_epoch=max_batches_per_epoch,
            predictions=predictions,
            log_every_steps=log_every_steps,
            scheduler_interval=scheduler_interval,
            deterministic=deterministic,
            checkpoint_every_steps=checkpoint_every_steps,
            checkpoint_every_minutes=checkpoint_every_minutes,
            asynchronous_checkpoints=asynchronous_checkpoints,
            stepping=stepping,
            retention=retention,
            early_stopping=early_stopping,
            initial_checkpoint=initial_checkpoint,
            initial_prefixes=initial_prefixes,
        )
        self.tile_size = tile_size
        self.tile_overlap = tile_overlap

    def make_task(self, model: torch.nn.Module, criterion: torch.nn.Module) -> Task:
        """See BaseTrainer."""
        return SupervisedSingleTask(
            model, criterion, self.context.device, tile_size=self.tile_size, tile_overlap=self.tile_overlap
        )


class SupervisedSingleTaskEvaluator(BaseEvaluator):
    """Tests trained weights of one model on one label.

    Args:
        context: what the launcher gives; not part of a configuration.
        score: aggregated score that is shown first.
        checkpoint: the checkpoint file whose model is tested, see BaseEvaluator.
        max_batches_per_epoch: at most so many batches; None for all.
        predictions: how many test datapoints become a picture.
        deterministic: ask torch for deterministic kernels, as training does.
        channels_last: keep 4-D weights in channels-last order, as a training with that `Stepping` does.
        tile_size: test on overlapping square tiles of so many pixels; None: whole images.
        tile_overlap: overlap of neighbouring tiles, pixels.
    """

    def __init__(
        self,
        context: RunContext,
        *,
        score: str,
        checkpoint: str,
        max_batches_per_epoch: int | None = None,
        predictions: int = 8,
        deterministic: bool = True,
        channels_last: bool = False,
        tile_size: int | None = None,
        tile_overlap: int = 0,
    ) -> None:
        super().__init__(
            context,
            score=score,
            checkpoint=checkpoint,
            max_batches_per_epoch=max_batches_per_epoch,
            predictions=predictions,
            deterministic=deterministic,
            channels_last=channels_last,
        )
        self.tile_size = tile_size
        self.tile_overlap = tile_overlap

    def make_task(self, model: torch.nn.Module) -> Task:
        """See BaseEvaluator."""
        return SupervisedSingleTask(
            model, None, self.context.device, tile_size=self.tile_size, tile_overlap=self.tile_overlap
        )
