"""Evaluation only: the test pass of a trained model, from the same form of configuration."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch

from runners import checkpoint
from runners.base_runner import BaseRunner, RunContext
from runners.errors import RunDirectoryError
from runners.evaluation import Task
from runners.randomness import seed_all


class BaseEvaluator(BaseRunner):
    """Tests the weights of a checkpoint. A subclass says how outputs are scored: `make_task`.

    Args:
        context: what the launcher gives; not part of a configuration.
        score: aggregated score that is shown first.
        checkpoint: the checkpoint file whose model is tested.
        max_batches_per_epoch: at most so many batches; None for all.
        predictions: how many test datapoints become a picture.
    """

    REQUIRED_KEYS: ClassVar[frozenset[str]] = frozenset(
        {"model", "metric", "test_dataset", "test_dataloader"}
    )
    OPTIONAL_KEYS: ClassVar[frozenset[str]] = frozenset({"monitor"})

    def __init__(
        self,
        context: RunContext,
        *,
        score: str,
        checkpoint: str,
        max_batches_per_epoch: int | None = None,
        predictions: int = 8,
    ) -> None:
        super().__init__(
            context, score=score, max_batches_per_epoch=max_batches_per_epoch, predictions=predictions
        )
        self.checkpoint = checkpoint

    @abstractmethod
    def make_task(self, model: torch.nn.Module) -> Task:
        """Say how a batch becomes outputs and scores."""

    def run(self) -> dict[str, Any]:
        """See BaseRunner. Returns the test results' leading score.

        Raises:
            RunDirectoryError: the checkpoint is absent, damaged or of another model.
        """
        path = Path(self.checkpoint)
        if not path.is_file():
            raise RunDirectoryError(
                f"runner.args.checkpoint: {path} is no file. Give a checkpoint that a training run left, "
                "such as its checkpoint_best.pt."
            )
        with self.watched():
            metric = self.build_metric()
            seed_all(self.context.seeds.init)
            model = self.build("model").to(self.context.device)
            checkpoint.load(path, {"model": model})
            results = self.test(model, self.make_task(model), metric, checkpoint=str(path))
        return {"test": None if results is None else {self.score: results["aggregated"][self.score]}}
