"""Training: epochs of steps, each epoch validated and checkpointed, the best one tested."""

import logging
import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, Literal

import torch

from pylon.data import DataLoader, LoaderWorkerError
from pylon.metrics import BaseMetric
from pylon.runners.distributed import OtherMachines
from pylon.runners.errors import RunStopped
from pylon.runners.outputs.curves import draw_curves
from pylon.runners.outputs.display import Status
from pylon.runners.outputs.report import mean_of_finite, report_epoch, report_scores, report_start
from pylon.runners.outputs.step_log import Step, StepLog
from pylon.runners.randomness import deterministic_kernels, seed_all
from pylon.runners.run_directory import checkpoint
from pylon.runners.run_directory.boundary import Boundary
from pylon.runners.run_directory.checkpoint import Progress, Stateful
from pylon.runners.run_directory.resuming import resume
from pylon.runners.run_directory.retention import Retention, check_interval
from pylon.runners.run_directory.saving import Saver
from pylon.runners.run_directory.snapshots import capture
from pylon.runners.run_directory.weights import start_from
from pylon.runners.training.base_runner import BaseRunner, EvaluationPlan, RunContext
from pylon.runners.training.early_stopping import EarlyStopping
from pylon.runners.training.evaluation import Task
from pylon.runners.training.loop import TrainingLoop
from pylon.runners.training.parts import TrainingParts, build_loaders, build_parts
from pylon.runners.training.stepping import Stepping
from pylon.storage import atomic_path

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
        deterministic: ask torch for deterministic kernels, and add up the ranks' gradients in a fixed order.
        checkpoint_every_steps: also save after each so many steps of the run; None: at epochs' ends only.
        checkpoint_every_minutes: also save when the last save is so long ago; None: at epochs' ends only.
        asynchronous_checkpoints: write them in a thread beside the training.
        stepping: how a step is taken; None: one batch, float32.
        retention: which checkpoints stay; None: the newest and the best.
        early_stopping: when to end before the last epoch; None: never.
        initial_checkpoint: the checkpoint whose weights the model starts with, read when the run begins and
            never again; 'stage:NAME' for the best one of the run directory NAME beside this one. None:
            what the model's constructor gives.
        initial_prefixes: take over only the weights whose names begin so; None: all.
    """

    REQUIRED_KEYS: ClassVar[frozenset[str]] = _TRAINING_KEYS | {"model", "metric"}
    OPTIONAL_KEYS: ClassVar[frozenset[str]] = frozenset(
        {"scheduler", "test_dataset", "test_dataloader", "monitor"}
    )

    parts: TrainingParts
    metric: BaseMetric
    train_loader: DataLoader
    val_loader: DataLoader
    step_log: StepLog
    saver: Saver
    boundary: Boundary
    loop: TrainingLoop

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
    ) -> None:
        super().__init__(
            context, score=score, max_batches_per_epoch=max_batches_per_epoch, predictions=predictions
        )
        self.log_every_steps = log_every_steps
        self.scheduler_interval = scheduler_interval
        self.deterministic = deterministic
        check_interval("checkpoint_every_steps", checkpoint_every_steps)
        check_interval("checkpoint_every_minutes", checkpoint_every_minutes)
        self.checkpoint_every_steps = checkpoint_every_steps
        self.checkpoint_every_minutes = checkpoint_every_minutes
        self.asynchronous_checkpoints = asynchronous_checkpoints
        self.stepping = stepping or Stepping()
        self.retention = retention or Retention()
        self.retention.check_against(checkpoint_every_steps)
        self.early_stopping = early_stopping
        self.initial_checkpoint = initial_checkpoint
        self.initial_prefixes = initial_prefixes
        self.epochs: int = context.config["epochs"]
        self.progress = Progress(ranks=context.world.size)

    @abstractmethod
    def make_task(self, model: torch.nn.Module, criterion: torch.nn.Module) -> Task:
        """Say how a batch becomes a loss, outputs and scores."""

    def run(self) -> dict[str, Any]:
        """See BaseRunner. Returns the best epoch, its validation scores and the test results."""
        with ExitStack() as stack:
            stack.enter_context(deterministic_kernels(self.deterministic))
            stack.enter_context(self.watched())
            self._build()
            for loader in (self.train_loader, self.val_loader, self.test_loader):
                if loader is not None:
                    stack.callback(loader.close)
            found = resume(self.context, self._parts(), self._begin)
            self.progress = found or self.progress
            if self.context.world.writes:
                stack.callback(self._draw_curves)
            self.step_log = stack.enter_context(
                StepLog(
                    self.context.directory.metrics if self.context.world.writes else None,
                    self.log_every_steps,
                    self.progress.losses,
                    OtherMachines(
                        self.context.world, lambda: None if self.monitor is None else self.monitor.latest()
                    ).figures,
                )
            )
            self.saver = self._make_saver()
            self.boundary = Boundary(
                self.progress,
                self._parts(),
                self.saver,
                self.step_log,
                self.context.stop,
                resumed=found is not None,
            )
            self.train_loader.end_when(*self.context.stop.while_alone(self.boundary.end_if_agreed))
            self.loop = self._make_loop()
            while self.progress.epoch < self.epochs and not self._is_stopped_early():
                self._run_epoch(self.progress.epoch)
            self.saver.finish()
            return self._finish()

    def _build(self) -> None:
        self.metric = self.build_metric()
        seed_all(self.context.seeds.init)
        self.parts = build_parts(
            self.build,
            self.make_task,
            stepping=self.stepping,
            device=self.context.device,
            world=self.context.world,
            deterministic=self.deterministic,
            dump=self._dump,
        )
        self.train_loader, self.val_loader, self.test_loader = build_loaders(
            self.build_loader, self.context.device
        )
        report_start(self.parts.model, self.context.device, self.train_loader, self.val_loader)

    def _begin(self) -> None:
        if self.initial_checkpoint is not None:
            start_from(
                self.initial_checkpoint,
                self.initial_prefixes,
                self.parts,
                self.context.directory,
                self.context.world,
            )

    def _make_saver(self) -> Saver:
        return Saver(
            self.context.directory,
            self.step_log,
            retention=self.retention,
            score=self.score,
            direction=self.metric.direction(self.score),
            every_steps=self.checkpoint_every_steps,
            every_minutes=self.checkpoint_every_minutes,
            asynchronous=self.asynchronous_checkpoints,
            writes=self.context.world.writes,
        )

    def _make_loop(self) -> TrainingLoop:
        return TrainingLoop(
            context=self.context,
            parts=self.parts,
            loader=self.train_loader,
            progress=self.progress,
            step_log=self.step_log,
            boundary=self.boundary,
            stepping=self.stepping,
            scheduler_interval=self.scheduler_interval,
            max_batches=self.max_batches,
            monitor=self.monitor,
            show=self._show_step,
        )

    def _run_epoch(self, epoch: int) -> None:
        self.context.stop.look()
        self.boundary.end_if_agreed()
        if not self.progress.trained:
            self.loop.train(epoch)
        started = time.monotonic()
        generators = self.parts.random.state_dict()
        try:
            validation = self._validate(epoch)
        except RunStopped:
            # Validation begins anew with the next launch: as if it had never begun.
            self.parts.random.load_state_dict(generators)
            self.boundary.end_if_agreed()
            raise
        except LoaderWorkerError:
            self.parts.random.load_state_dict(generators)
            self.boundary.save_for_good()
            raise
        self._finish_epoch(epoch, validation, time.monotonic() - started)

    def _dump(self, content: dict[str, Any]) -> str:
        """Write what reproduces the running step; say where."""
        epoch, step = self.progress.epoch, self.progress.step
        path = self.context.directory.non_finite(epoch, step)
        place = {"epoch": epoch, "step": step, "epoch_seed": self.context.seeds.train[epoch]}
        if self.context.world.writes:
            with atomic_path(path) as temporary:
                torch.save(content | place, temporary)
        return f"epoch {epoch}, step {step}: {path}"

    def _show_step(self, step: Step, steps: int) -> None:
        if self.display.due():
            done, loss = step.step + 1, self.step_log.last_loss
            self.show(
                Status(
                    "train", step.epoch, self.epochs, done, steps, loss, step.learning_rate, step.step_time_s
                )
            )

    def _validate(self, epoch: int) -> dict[str, Any]:
        plan = EvaluationPlan("validate", self.val_loader, self.context.seeds.val[epoch], epoch, self.epochs)
        self.evaluate(plan, self.parts.evaluated, self.parts.task, self.metric)
        return self.metric.summarize()

    def _finish_epoch(self, epoch: int, validation: dict[str, Any], validation_time_s: float) -> None:
        progress, losses = self.progress, self.step_log.end_epoch()
        score, direction = validation["aggregated"][self.score], self.metric.direction(self.score)
        if self.early_stopping is not None:
            self.early_stopping.judge(epoch, score, direction)
        progress.judge(score, direction)
        progress.finish_epoch(
            {
                "training_loss": mean_of_finite(losses),
                "learning_rate": self.parts.optimizer.param_groups[0]["lr"],
                "validation_time_s": round(validation_time_s, 3),
                "validation": validation["aggregated"],
                "baselines": self.metric.baselines(),
            }
        )
        self.saver.save(capture(progress, self._parts(), losses, validation))
        report_epoch(progress.history[-1], self.epochs, self.score, is_best=progress.best_epoch == epoch)

    def _is_stopped_early(self) -> bool:
        if self.early_stopping is None or not self.early_stopping.stopped:
            return False
        logger.info(
            "stopped early: %s has not improved for %d epochs", self.score, self.early_stopping.patience
        )
        return True

    def _finish(self) -> dict[str, Any]:
        best, path = self.progress.best_epoch, self.context.directory.best
        content = self.context.world.on_writer(lambda: checkpoint.read(path))
        checkpoint.restore(path, content, {"model": self.parts.model, "average": self.parts.average})
        record = next(record for record in self.progress.history if record["epoch"] == best)
        report_scores("validation", self.score, record["validation"], record["baselines"])
        results = self.test(self.parts.evaluated, self.parts.task, self.metric, checkpoint=f"epoch_{best}")
        return {
            "epochs": self.progress.epoch,
            "best_epoch": best,
            "validation": {self.score: self.progress.best_score},
            "test": None if results is None else {self.score: results["aggregated"][self.score]},
        }

    def _draw_curves(self) -> None:
        if self.progress.history:
            draw_curves(self.context.directory.curves, self.progress.history, self.score)

    def _parts(self) -> dict[str, Stateful | None]:
        return {**self.parts.of_a_checkpoint(), "early_stopping": self.early_stopping}
