"""What training and evaluation runs share: the monitor beside them, their display, the test pass."""

import contextlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from rich.console import Console

from pylon.data import DataLoader
from pylon.metrics import BaseMetric
from pylon.monitor import SystemMonitor
from pylon.runners.config import build
from pylon.runners.config.contracts import check_score
from pylon.runners.distributed import AgreedStop, World
from pylon.runners.outputs.display import Display, PlainDisplay, Status, opened_display
from pylon.runners.outputs.pictures import draw_batch
from pylon.runners.outputs.report import report_scores
from pylon.runners.randomness import seed_all
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.seeds import Seeds
from pylon.runners.training.evaluation import Batch, Task, count_batches, evaluate
from pylon.storage import write_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunContext:
    """What the launcher gives to every runner beside its configured arguments.

    Attributes:
        config: the checked configuration.
        seeds: every seed of the run.
        directory: where the run leaves its files; held by the one rank that writes.
        device: where the model and each batch go.
        stop: tells the loops that somebody asked the run to stop.
        console: where progress is shown.
        world: the ranks of the run; one where it has one process.
    """

    config: dict[str, Any]
    seeds: Seeds
    directory: RunDirectory
    device: torch.device
    stop: AgreedStop
    console: Console
    world: World


@dataclass(frozen=True)
class EvaluationPlan:
    """One evaluation pass.

    Attributes:
        phase: 'validate' or 'test', for the display.
        loader: the data.
        seed: of the loader's order and augmentation.
        epoch, epochs: the running epoch and how many there are, for the display.
        pictures: how many datapoints become a picture.
    """

    phase: str
    loader: DataLoader
    seed: int
    epoch: int = 0
    epochs: int = 1
    pictures: int = 0


class BaseRunner(ABC):
    """A run of any kind: builds nothing before `run`, and stops its monitor whatever happens in it.

    Args:
        context: what the launcher gives; not part of a configuration.
        score: aggregated validation score that chooses the best epoch and is shown first.
        max_batches_per_epoch: at most so many batches of each pass; None for all.
        predictions: how many test datapoints become a picture.
    """

    INJECTED: ClassVar[frozenset[str]] = frozenset({"context"})

    def __init__(
        self,
        context: RunContext,
        *,
        score: str,
        max_batches_per_epoch: int | None = None,
        predictions: int = 8,
    ) -> None:
        self.context = context
        self.score = score
        self.max_batches = max_batches_per_epoch
        self.predictions = predictions
        self.monitor: SystemMonitor | None = None
        # Where a run needs it only at its end, built at its beginning: see `test`.
        self.test_loader: DataLoader | None = None
        self.display: Display = PlainDisplay()

    @abstractmethod
    def run(self) -> dict[str, Any]:
        """Do the run and return its JSON-ready result.

        Raises:
            RunStopped: a signal asked for it; the run directory can be resumed.
            PylonError: the run failed, with the reason and the fix in its text.
        """

    def build(self, key: str, **injected: object) -> Any:  # noqa: ANN401 - any configured class
        """Build the configuration's entry `key`; None where the entry is None or absent."""
        node = self.context.config.get(key)
        return None if node is None else build(node, key_path=key, **injected)

    def build_metric(self) -> BaseMetric:
        """Build the metric, which must know the score that the run is judged by.

        Raises:
            ConfigError: it does not.
        """
        metric: BaseMetric = self.build("metric")
        check_score(metric, self.score)
        return metric

    def build_loader(self, split: str) -> DataLoader | None:
        """The loader of 'train', 'val' or 'test' over its dataset; None where none is configured."""
        dataset = self.build(f"{split}_dataset")
        if dataset is None:
            return None
        loader: DataLoader = self.build(f"{split}_dataloader", dataset=dataset)
        loader.end_when(*self.context.stop.while_alone(self.context.stop.raise_if_agreed))
        return loader

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Run the block with the display open and, on one rank of each machine, the monitor beside it."""
        with contextlib.ExitStack() as stack:
            self.monitor = self.build("monitor") if self.context.world.watches else None
            if self.monitor is not None:
                stack.callback(self.monitor.stop)
                self._start_monitor(self.monitor)
            self.display = stack.enter_context(opened_display(self.context.console))
            yield

    def _start_monitor(self, monitor: SystemMonitor) -> None:
        try:
            monitor.start()
        except (OSError, RuntimeError) as error:
            # No room for one more process or thread: a reason to train unwatched, not to not train.
            logger.warning("the run goes on without its monitor, which could not be started: %s", error)
            self.monitor = None

    def show(self, status: Status) -> None:
        """Show `status` with the monitor's newest figures; the caller has asked `display.due()`."""
        if self.monitor is not None:
            status = replace(status, monitor=self.monitor.latest().as_record())
        self.display.show(status)

    def evaluate(
        self, plan: "EvaluationPlan", model: torch.nn.Module, task: Task, metric: BaseMetric
    ) -> None:
        """Fill `metric` with `model`'s scores on the plan's data; everything random follows from its seed.

        Raises:
            RunStopped: a stop was asked for.
        """
        batches = count_batches(plan.loader, self.max_batches)
        drawn = 0

        def on_batch(number: int, batch: Batch, outputs: torch.Tensor) -> None:
            nonlocal drawn
            if self.context.world.writes and drawn < plan.pictures:
                drawn += draw_batch(self.context.directory.predictions, batch, outputs, plan.pictures - drawn)
            if self.display.due():
                self.show(Status(plan.phase, plan.epoch, plan.epochs, step=number, steps=batches))

        evaluate(
            model,
            task,
            plan.loader,
            metric,
            seed=plan.seed,
            max_batches=self.max_batches,
            stop=self.context.stop,
            world=self.context.world,
            on_batch=on_batch,
        )

    def test(
        self, model: torch.nn.Module, task: Task, metric: BaseMetric, *, checkpoint: str
    ) -> dict[str, Any] | None:
        """The test pass with the run's best weights; writes `test/test_results.json` and the pictures.

        It takes the `test_loader`; where there is none, the configured one is built.

        Args:
            model: holds the weights to test.
            task, metric: how to predict and score.
            checkpoint: which checkpoint the weights come from, for the record.

        Returns:
            The results as written, None where the configuration has no test data.
        """
        loader = self.test_loader
        if loader is None:
            loader = self.build_loader("test")
        if loader is None:
            return None
        started = time.monotonic()
        seed_all(self.context.seeds.test)  # a model may draw numbers in its test too
        plan = EvaluationPlan("test", loader, self.context.seeds.test, pictures=self.predictions)
        try:
            self.evaluate(plan, model, task, metric)
        finally:
            loader.close()
        summary = metric.summarize()
        results = {
            "checkpoint": checkpoint,
            "time_s": round(time.monotonic() - started, 3),
            **summary,
            "baselines": metric.baselines(),
        }
        if self.context.world.writes:
            write_json(self.context.directory.test_results, results)
        report_scores("test", self.score, summary["aggregated"], results["baselines"])
        return results
