"""What training and evaluation runs share: building from the configuration, and the test pass."""

import contextlib
import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch.utils.data import IterableDataset

from pylon.data import DataLoader, refuse_empty
from pylon.metrics import BaseMetric, as_metric
from pylon.monitor import SystemMonitor
from pylon.runners.config import build, unfit
from pylon.runners.config.contracts import check_score
from pylon.runners.errors import ConfigError, ConfigProblem
from pylon.runners.outputs.report import report_scores
from pylon.runners.randomness import seed_all
from pylon.runners.run_directory.plain import recorded
from pylon.runners.training.context import RunContext
from pylon.runners.training.evaluation import Task, count_batches
from pylon.runners.training.passes import EvaluationPass, run_pass
from pylon.runners.training.same_on_ranks import refuse_other_datapoints
from pylon.runners.training.watch import Watch, watched
from pylon.storage import write_json


class BaseRunner(ABC):
    """A run of any kind: builds nothing before `run`.

    Args:
        context: what the launcher gives; not part of a configuration.
        score: aggregated validation score that chooses the best epoch and is shown first.
        max_batches_per_epoch: at most so many batches of each pass; None for all.
        predictions: how many test datapoints become a picture.
        rehearsal: try a batch of each pass before the first step, as does a command without --no-rehearsal.
    """

    INJECTED: ClassVar[frozenset[str]] = frozenset({"context"})

    def __init__(
        self,
        context: RunContext,
        *,
        score: str,
        max_batches_per_epoch: int | None = None,
        predictions: int = 8,
        rehearsal: bool = True,
    ) -> None:
        self.context = context
        self.score = score
        self.max_batches = max_batches_per_epoch
        self.predictions = predictions
        self.rehearsal = rehearsal and context.rehearsal

    @abstractmethod
    def run(self) -> dict[str, Any]:
        """Do the run and return its JSON-ready result.

        Raises:
            RunStopped: a signal has come; the run directory can be resumed.
            PylonError: the run failed, with the reason and the fix in its text.
        """

    def build(self, key: str, **injected: object) -> Any:  # noqa: ANN401 - any configured class
        """Build the configuration's entry `key`; None if the entry is None or absent."""
        node = self.context.config.get(key)
        if node is None:
            return None
        built = build(node, key_path=key, **injected)
        # What a function gives is known only now.
        if expected := unfit(type(built), key):
            given = type(built).__name__
            problem = ConfigProblem(f"{key}.class", node["class"].__name__, f"gives a {given}, {expected}")
            raise ConfigError("configuration", [problem])
        return built

    def build_metric(self) -> BaseMetric:
        """Build the metric, which must know the score that the run is judged by.

        Raises:
            ConfigError: it does not.
        """
        metric: BaseMetric = as_metric(self.build("metric"))
        check_score(metric, self.score)
        return metric

    def build_loader(self, split: str) -> DataLoader | None:
        """The loader of 'train', 'val' or 'test' over its dataset; None if none is configured.

        Raises:
            EmptyDatasetError: the dataset has no datapoint.
            ConfigError: the loader makes no batch of them.
            TrainingError: ranks have other datapoints.
        """
        dataset = self.build(f"{split}_dataset")
        if dataset is None:
            return None
        if not isinstance(dataset, IterableDataset):
            refuse_empty(dataset, f"{split}_dataset")
        loader: DataLoader = self.build(f"{split}_dataloader", dataset=dataset)
        if count_batches(loader, None) == 0:
            raise ConfigError.single(
                f"{split}_dataloader.args.batch_size",
                loader.batch_size,
                f"at most {len(dataset)}, the number of datapoints in {split}_dataset, or drop_last=False: "
                "with drop_last=True there would be no batch",
                "configuration",
            )
        refuse_other_datapoints(self.context.world, f"{split}_dataset", loader.dataset.fingerprint())
        stop = self.context.stop
        loader.end_when(stop.may_end_wait, stop.raise_if_signalled)
        return loader

    def watched(self) -> contextlib.AbstractContextManager[Watch]:
        """The display and, on one rank of each machine, a monitor and a record, for a block."""
        return watched(self.context, self._monitor() if self.context.world.watches else None)

    def _monitor(self) -> SystemMonitor | None:
        """The configured one; this machine's if there is no entry, and none if the entry is None."""
        monitor: SystemMonitor | None = (
            self.build("monitor") if "monitor" in self.context.config else SystemMonitor()
        )
        return monitor

    def test_pass(self, loader: DataLoader) -> EvaluationPass:
        """How the test data are gone through."""
        seed = self.context.seeds.test
        return EvaluationPass("test", loader, seed, self.max_batches, pictures=self.predictions)

    def test(
        self,
        model: torch.nn.Module,
        task: Task,
        metric: BaseMetric,
        watch: Watch,
        loader: DataLoader | None,
        *,
        checkpoint: str,
    ) -> dict[str, Any] | None:
        """The test pass with the run's best weights; writes `test/test_results.json` and the pictures.

        Args:
            model: holds the weights to test.
            task, metric: how to predict and score.
            watch: the monitor and the display.
            loader: of the test data, closed at the end; None without such.
            checkpoint: which checkpoint the weights come from, for the record.

        Returns:
            The results as written, None if there is no test data.
        """
        if loader is None:
            return None
        started, plan = time.monotonic(), self.test_pass(loader)
        seed_all(plan.seed)  # a model may draw numbers in its test too
        watch.sender.mark("validation_begin", split="test")
        try:
            run_pass(plan, model, task, metric, context=self.context, watch=watch)
        finally:
            loader.close()
            watch.sender.mark("validation_end", split="test")
        summary, baselines = recorded({**metric.summarize()}), recorded(metric.baselines())
        time_s = round(time.monotonic() - started, 3)
        better = report_scores(
            "test", self.score, summary["aggregated"], baselines, metric.direction(self.score)
        )
        results: dict[str, Any] = {
            "checkpoint": checkpoint,
            "time_s": time_s,
            **summary,
            "baselines": baselines,
            "better_than_baselines": better,
        }
        if self.context.world.writes:
            write_json(self.context.directory.test_results, results)
        return results

    def result_of_test(self, results: dict[str, Any] | None) -> dict[str, Any]:
        """What the run's result holds of the test; `results` are those that `test` gave."""
        if results is None:
            return {"test": None, "test_better_than_baselines": None}
        return {
            "test": {self.score: results["aggregated"][self.score]},
            "test_better_than_baselines": results["better_than_baselines"],
        }
