"""Training: epochs of steps, each epoch validated and checkpointed, the best one tested."""

import logging
import time
from abc import abstractmethod
from contextlib import ExitStack
from typing import Any, ClassVar, Literal

import torch

from data import DataLoader
from metrics import BaseMetric, is_better
from runners import checkpoint
from runners.base_runner import BaseRunner, EvaluationPlan, RunContext
from runners.checkpoint import Progress, Stateful
from runners.errors import ConfigError, TrainingError
from runners.evaluation import Task, count_batches, limited
from runners.outputs.curves import draw_curves
from runners.outputs.display import Status
from runners.outputs.report import report_scores
from runners.outputs.step_log import Step, StepLog, drop_unfinished_epochs
from runners.randomness import deterministic_kernels, seed_all
from storage import atomic_path, write_json

logger = logging.getLogger(__name__)

_TRAINING_KEYS = frozenset(
    {"epochs", "criterion", "optimizer", "train_dataset", "train_dataloader", "val_dataset", "val_dataloader"}
)


class BaseTrainer(BaseRunner):
    """Trains for the configured epochs and tests the best. A subclass says what is learnt: `make_task`.

    Args:
        context: what the launcher gives; not part of a configuration.
        score: aggregated validation score that chooses the best epoch.
        max_batches_per_epoch: at most so many batches of each pass; None for all.
        predictions: how many test datapoints become a picture.
        log_every_steps: losses leave the device and reach `metrics.jsonl` in groups of so many steps.
        scheduler_interval: 'epoch' or 'step': what one step of the scheduler is.
        deterministic: ask torch for deterministic kernels.
    """

    REQUIRED_KEYS: ClassVar[frozenset[str]] = _TRAINING_KEYS | {"model", "metric"}
    OPTIONAL_KEYS: ClassVar[frozenset[str]] = frozenset(
        {"scheduler", "test_dataset", "test_dataloader", "monitor"}
    )

    model: torch.nn.Module
    task: Task
    metric: BaseMetric
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None
    train_loader: DataLoader
    val_loader: DataLoader
    step_log: StepLog

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
    ) -> None:
        super().__init__(
            context, score=score, max_batches_per_epoch=max_batches_per_epoch, predictions=predictions
        )
        self.log_every_steps = log_every_steps
        self.scheduler_interval = scheduler_interval
        self.deterministic = deterministic
        self.epochs: int = context.config["epochs"]
        self.progress = Progress()

    @abstractmethod
    def make_task(self, model: torch.nn.Module, criterion: torch.nn.Module) -> Task:
        """Say how a batch becomes a loss, outputs and scores."""

    def run(self) -> dict[str, Any]:
        """See BaseRunner. Returns the best epoch, its validation scores and the test results."""
        with ExitStack() as stack:
            stack.enter_context(deterministic_kernels(self.deterministic))
            stack.enter_context(self.watched())
            self._build()
            self._resume()
            stack.callback(self._draw_curves)
            self.step_log = stack.enter_context(StepLog(self.context.directory.metrics, self.log_every_steps))
            while self.progress.epoch < self.epochs:
                self._run_epoch(self.progress.epoch)
            return self._finish()

    def _build(self) -> None:
        self.metric = self.build_metric()
        seed_all(self.context.seeds.init)
        self.model = self.build("model").to(self.context.device)
        criterion = self.build("criterion").to(self.context.device)
        self.task = self.make_task(self.model, criterion)
        self.optimizer = self.build("optimizer", params=self.model.parameters())
        self.scheduler = self.build("scheduler", optimizer=self.optimizer)
        self.train_loader = self._required_loader("train")
        if len(self.train_loader) == 0:
            raise ConfigError.single(
                "train_dataloader.args.batch_size",
                self.train_loader.batch_size,
                f"at most {len(self.train_loader.dataset)}, the number of training datapoints, "
                "or drop_last=False: there would be no step in an epoch",
                "configuration",
            )
        self.val_loader = self._required_loader("val")
        logger.info(
            "%s with %s parameters on %s; %d training and %d validation datapoints",
            type(self.model).__name__,
            f"{sum(parameter.numel() for parameter in self.model.parameters()):,}",
            self.context.device,
            len(self.train_loader.dataset),
            len(self.val_loader.dataset),
        )

    def _resume(self) -> None:
        directory = self.context.directory
        found = checkpoint.load_newest(directory, self._parts())
        if found is not None:
            self.progress = found
            logger.info("going on after %d finished epochs", self.progress.epoch)
            self._refer_to_checkpoints()
        drop_unfinished_epochs(directory.metrics, self.progress.epoch)

    def _run_epoch(self, epoch: int) -> None:
        started = time.monotonic()
        losses = self._train_epoch(epoch)
        trained = time.monotonic()
        validation = self._validate(epoch)
        self.context.stop.raise_if_requested()
        self._finish_epoch(epoch, losses, validation, (trained - started, time.monotonic() - trained))

    def _train_epoch(self, epoch: int) -> list[float]:
        seed = self.context.seeds.train[epoch]
        seed_all(seed)
        self.train_loader.set_epoch_seed(seed)
        self.model.train()
        steps = count_batches(self.train_loader, self.max_batches)
        started = time.perf_counter()
        for step, batch in enumerate(limited(self.train_loader, self.max_batches)):
            self.context.stop.raise_if_requested()
            learning_rate = self.optimizer.param_groups[0]["lr"]
            loss = self._step(batch)
            now = time.perf_counter()
            self._note_step(
                Step(epoch, step, self.progress.global_step, loss, learning_rate, now - started), steps
            )
            self.progress.global_step += 1
            started = now
        self._advance_scheduler("epoch")
        return self.step_log.end_epoch()

    def _step(self, batch: dict[str, Any]) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.task.training_loss(batch)
        loss.backward()
        self.optimizer.step()
        self._advance_scheduler("step")
        return loss.detach()

    def _advance_scheduler(self, interval: str) -> None:
        if self.scheduler is not None and self.scheduler_interval == interval:
            self.scheduler.step()

    def _note_step(self, step: Step, steps: int) -> None:
        self.step_log.add(step, None if self.monitor is None else self.monitor.latest())
        if self.display.due():
            self.show(
                Status(
                    "train",
                    step.epoch,
                    self.epochs,
                    step.step + 1,
                    steps,
                    self.step_log.last_loss,
                    step.learning_rate,
                    step.step_time_s,
                )
            )

    def _validate(self, epoch: int) -> dict[str, Any]:
        plan = EvaluationPlan("validate", self.val_loader, self.context.seeds.val[epoch], epoch, self.epochs)
        self.evaluate(plan, self.model, self.task, self.metric)
        return self.metric.summarize(
            output_path=self.context.directory.epoch(epoch) / "validation_scores.json"
        )

    def _finish_epoch(
        self, epoch: int, losses: list[float], validation: dict[str, Any], times_s: tuple[float, float]
    ) -> None:
        """Make the epoch count: its checkpoint is written last, after everything it stands for."""
        directory, progress = self.context.directory, self.progress
        scores = validation["aggregated"]
        if progress.best_epoch is None or is_better(
            self.metric.direction(self.score), scores[self.score], progress.best_score
        ):
            progress.best_epoch, progress.best_score = epoch, scores[self.score]
        progress.epoch = epoch + 1
        progress.history.append(
            {
                "epoch": epoch,
                "training_loss": sum(losses) / len(losses),
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "training_time_s": round(times_s[0], 3),
                "validation_time_s": round(times_s[1], 3),
                "validation": scores,
                "baselines": self.metric.baselines(),
            }
        )
        with atomic_path(directory.epoch(epoch) / "training_losses.pt") as temporary:
            torch.save(torch.tensor(losses, dtype=torch.float64), temporary)
        checkpoint.save(directory.checkpoint(epoch), self._parts(), progress)
        self._refer_to_checkpoints()
        self._report_epoch()

    def _refer_to_checkpoints(self) -> None:
        directory, progress = self.context.directory, self.progress
        write_json(directory.history, progress.history)
        keep = {progress.epoch - 1}
        directory.link_latest(progress.epoch - 1)
        if progress.best_epoch is not None and directory.checkpoint(progress.best_epoch).exists():
            directory.link_best(progress.best_epoch)
            keep.add(progress.best_epoch)
        checkpoint.discard_superseded(directory, keep)

    def _report_epoch(self) -> None:
        record = self.progress.history[-1]
        score = record["validation"][self.score]
        logger.info(
            "epoch %d/%d: loss %.4f, validation %s %s%s, %.1f s",
            self.progress.epoch,
            self.epochs,
            record["training_loss"],
            self.score,
            "undefined" if score is None else f"{score:.4f}",
            " (best)" if self.progress.best_epoch == record["epoch"] else "",
            record["training_time_s"] + record["validation_time_s"],
        )

    def _finish(self) -> dict[str, Any]:
        best = self.progress.best_epoch
        checkpoint.load(self.context.directory.best, {"model": self.model})
        record = next(record for record in self.progress.history if record["epoch"] == best)
        report_scores("validation", self.score, record["validation"], record["baselines"])
        results = self.test(self.model, self.task, self.metric, checkpoint=f"epoch_{best}")
        return {
            "epochs": self.epochs,
            "best_epoch": best,
            "validation": {self.score: self.progress.best_score},
            "test": None if results is None else {self.score: results["aggregated"][self.score]},
        }

    def _draw_curves(self) -> None:
        if self.progress.history:
            draw_curves(self.context.directory.curves, self.progress.history, self.score)

    def _parts(self) -> dict[str, Stateful | None]:
        return {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}

    def _required_loader(self, split: str) -> DataLoader:
        loader = self.build_loader(split)
        if loader is None:
            raise TrainingError(f"{split}_dataset: None, but training needs it.")
        return loader
