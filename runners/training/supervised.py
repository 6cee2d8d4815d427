"""Supervised learning of one label: model(**inputs) against the datapoint's only label."""

import torch

from pylon.metrics import BaseMetric
from pylon.models import tiled_logits
from pylon.runners.config import HandedOn
from pylon.runners.config.contracts import checked_loss
from pylon.runners.errors import TrainingError
from pylon.runners.training.base_evaluator import BaseEvaluator
from pylon.runners.training.base_trainer import BaseTrainer
from pylon.runners.training.context import RunContext
from pylon.runners.training.evaluation import Batch, Task


class SupervisedSingleTask:
    """One model, one label. A task of one's own can inherit from it and replace any of its methods.

    Args:
        model: called as `model(**inputs)`, gives logits (B, num_classes, H, W).
        criterion: called as `criterion(logits, target)`, gives a scalar; None if nothing is trained.
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
        tile_size: validate and test on overlapping square tiles of so many pixels; None: whole images.
        tile_overlap: overlap of neighbouring tiles, pixels.
        others: see BaseTrainer.
    """

    def __init__(
        self, context: RunContext, *, tile_size: int | None = None, tile_overlap: int = 0, **others: HandedOn
    ) -> None:
        super().__init__(context, **others)
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
        tile_size: test on overlapping square tiles of so many pixels; None: whole images.
        tile_overlap: overlap of neighbouring tiles, pixels.
        others: see BaseEvaluator.
    """

    def __init__(
        self, context: RunContext, *, tile_size: int | None = None, tile_overlap: int = 0, **others: HandedOn
    ) -> None:
        super().__init__(context, **others)
        self.tile_size = tile_size
        self.tile_overlap = tile_overlap

    def make_task(self, model: torch.nn.Module) -> Task:
        """See BaseEvaluator."""
        return SupervisedSingleTask(
            model, None, self.context.device, tile_size=self.tile_size, tile_overlap=self.tile_overlap
        )
