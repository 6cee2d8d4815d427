"""Evaluation only: the test pass of a trained model, from the same form of configuration."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch

from pylon.runners.config import HandedOn
from pylon.runners.config.contracts import checked_task
from pylon.runners.keys import EVALUATOR_KEYS, OPTIONAL_EVALUATOR_KEYS
from pylon.runners.randomness import deterministic_kernels, seed_all
from pylon.runners.run_directory.weights import load_weights, read_weights, warn_of_unfinished
from pylon.runners.training.base_runner import BaseRunner
from pylon.runners.training.context import RunContext
from pylon.runners.training.evaluation import Task
from pylon.runners.training.rehearsal import rehearse_test


class BaseEvaluator(BaseRunner):
    """Tests the weights of a checkpoint. A subclass defines how outputs are scored: `make_task`.

    Args:
        context: what the launcher gives; not part of a configuration.
        checkpoint: the checkpoint file whose model is tested; 'stage:NAME' for the best one of the run
            directory NAME next to this one.
        deterministic: ask torch for deterministic kernels, as training does.
        channels_last: keep 4-D weights in channels-last order, as a training with that `Stepping` does.
        others: see BaseRunner.
    """

    REQUIRED_KEYS: ClassVar[frozenset[str]] = EVALUATOR_KEYS
    OPTIONAL_KEYS: ClassVar[frozenset[str]] = OPTIONAL_EVALUATOR_KEYS

    def __init__(
        self,
        context: RunContext,
        *,
        checkpoint: str,
        deterministic: bool = True,
        channels_last: bool = False,
        **others: HandedOn,
    ) -> None:
        super().__init__(context, **others)
        self.checkpoint = checkpoint
        self.deterministic = deterministic
        self.channels_last = channels_last

    @abstractmethod
    def make_task(self, model: torch.nn.Module) -> Task:
        """Define how a batch becomes outputs and scores."""

    def run(self) -> dict[str, Any]:
        """See BaseRunner. Returns the test results' leading score.

        Raises:
            RunDirectoryError: the checkpoint is absent, damaged or of another model.
        """
        key = "runner.args.checkpoint"
        world = self.context.world
        path, weights = read_weights(self.checkpoint, self.context.directory, key, world)
        with self.watched() as watch, deterministic_kernels(self.deterministic):
            metric = self.build_metric()
            seed_all(self.context.seeds.init)
            model = self.build("model").to(self.context.device)
            if self.channels_last:
                model = model.to(memory_format=torch.channels_last)
            load_weights(path, weights, model, key)
            if world.writes:
                warn_of_unfinished(path)
            task = checked_task(
                self.make_task(model), f"{type(self).__name__}.make_task", ("predict", "score")
            )
            loader = self.build_loader("test")
            if self.rehearsal and loader is not None:
                rehearse_test(
                    self.test_pass(loader),
                    model,
                    build=self.build,
                    make_task=self.make_task,
                    score=self.score,
                    context=self.context,
                )
            results = self.test(model, task, metric, watch, loader, checkpoint=str(path.resolve()))
        return self.result_of_test(results)
