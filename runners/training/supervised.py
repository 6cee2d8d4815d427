"""Supervised learning: what the model gives for the inputs, against the labels."""

import inspect
from typing import Any

import torch

from pylon.data import is_namedtuple, map_tensors
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
    """One model against the labels. A task of one's own can inherit from it and replace any of its methods.

    Args:
        model: a dict of inputs reaches it as keyword arguments, a tuple as positional ones, anything else as
            its one argument.
        criterion: called as `criterion(outputs, labels)`, gives a scalar; None if nothing is trained.
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
        return self.loss(call_model(self.model, self.inputs(batch)), batch)

    def loss(self, outputs: Any, batch: Batch) -> torch.Tensor:  # noqa: ANN401 - whatever the model gives
        """The criterion's loss of the model's outputs for a batch, a scalar.

        Raises:
            TrainingError: there is no criterion, or it gives no scalar.
        """
        if self.criterion is None:
            raise TrainingError("criterion: None, but a training loss was asked for.")
        return checked_loss(
            self.criterion(outputs, self.target(batch)), f"criterion {type(self.criterion).__name__}"
        )

    def predict(self, batch: Batch) -> Any:  # noqa: ANN401 - whatever the model gives
        """See Task. Tiles are predicted one after another; each pixel appears once in the result."""
        inputs = self.inputs(batch)
        if self._tile_size is None:
            return call_model(self.model, inputs)
        if not isinstance(inputs, dict):
            raise TrainingError(
                f"tile_size: {self._tile_size}, expected None: tiles are cut from a dict of images, and the "
                f"inputs are a {type(inputs).__name__}."
            )
        return tiled_logits(self.model, inputs, tile_size=self._tile_size, overlap=self._tile_overlap)

    def score(self, metric: BaseMetric, outputs: Any, batch: Batch) -> None:  # noqa: ANN401
        """See Task."""
        metric.update(outputs, self.target(batch), batch["meta_info"]["idx"])

    def inputs(self, batch: Batch) -> Any:  # noqa: ANN401 - any nested value
        """The batch's inputs, on the run's device."""
        return map_tensors(batch["inputs"], self._on_device)

    def target(self, batch: Batch) -> Any:  # noqa: ANN401 - any nested value
        """What criterion and metric compare with: the batch's labels, on the device; of a dict of one, that.

        A task without labels overrides it, also if its criterion is None: `score` gives it to the metric.

        Raises:
            TrainingError: there is no label.
        """
        labels = batch["labels"]
        if labels is None or (isinstance(labels, dict) and not labels):
            raise TrainingError(
                "labels: none, but SupervisedSingleTask.target takes from them what criterion and metric are "
                "called with. Let the dataset give (inputs, labels), or let a task of your own override "
                "target(self, batch), to return self.inputs(batch), None or anything else: see "
                "docs/own-classes.md."
            )
        only = next(iter(labels.values())) if isinstance(labels, dict) and len(labels) == 1 else labels
        return map_tensors(only, self._on_device)

    def _on_device(self, value: torch.Tensor) -> torch.Tensor:
        # `to` would find that itself, in several times the time.
        return value if value.device == self._device else value.to(self._device, non_blocking=True)


def call_model(model: torch.nn.Module, inputs: Any) -> Any:  # noqa: ANN401 - any nested value
    """The model's outputs: a dict of inputs by keyword, a tuple by position, anything else as one argument.

    Raises:
        TrainingError: the model's forward does not take these.
    """
    by_position: tuple[Any, ...] = ()
    by_name: dict[str, Any] = {}
    if isinstance(inputs, dict):
        by_name = inputs
    else:
        by_position = inputs if isinstance(inputs, tuple) and not is_namedtuple(inputs) else (inputs,)
    try:
        return model(*by_position, **by_name)
    except TypeError as error:
        # Only now: torch.compile and replicas take any arguments.
        inner = getattr(model, "_orig_mod", model)
        inner = getattr(inner, "module", inner)
        signature = inspect.signature(inner.forward)
        try:
            signature.bind(*by_position, **by_name)
        except TypeError as mismatch:
            given = f"inputs {sorted(by_name)}" if by_name else f"{len(by_position)} inputs by position"
            raise TrainingError(
                f"model {type(inner).__name__}.forward{signature} does not take the dataset's {given}: "
                f"{mismatch}. A dict of inputs is given by name, a tuple by position, anything else as one "
                f"argument.{' What the criterion needs is the entry named labels.' if by_name else ''} A "
                "collate_fn can put a batch into this form: see docs/data.md."
            ) from error
        raise


class SupervisedSingleTaskTrainer(BaseTrainer):
    """Trains one model on the labels of its datapoints.

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
    """Tests trained weights of one model on the labels of its datapoints.

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
