"""The trainer: what a training run takes, how it is assembled, and what it gives; `loop` trains."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, ClassVar, Literal

import torch

from pylon.metrics.directions import Direction
from pylon.runners.config import HandedOn
from pylon.runners.config.schedule_ends import refuse_unknown_length
from pylon.runners.config.schedules import mode_of, takes_score
from pylon.runners.distributed import OtherMachines
from pylon.runners.keys import OPTIONAL_TRAINER_KEYS, TRAINER_KEYS
from pylon.runners.outputs.curve_drawing import CurveDrawing
from pylon.runners.outputs.losses import EpochLosses
from pylon.runners.outputs.report import (
    report_scores,
    report_skipped,
    report_start,
    warn_of_idle_ranks,
    warn_of_undefined_score,
)
from pylon.runners.outputs.step_log import StepLog
from pylon.runners.randomness import deterministic_kernels, generators_kept, seed_all
from pylon.runners.run_directory import checkpoint
from pylon.runners.run_directory.checkpoint import Progress
from pylon.runners.run_directory.checkpointing import Checkpointing
from pylon.runners.run_directory.history import History, read_records, write_as_list
from pylon.runners.run_directory.resuming import resume
from pylon.runners.run_directory.retention import Retention
from pylon.runners.run_directory.saving import Saver
from pylon.runners.run_directory.weights import start_from
from pylon.runners.training.base_runner import BaseRunner
from pylon.runners.training.boundary import stop_if_signalled
from pylon.runners.training.context import RunContext
from pylon.runners.training.early_stopping import EarlyStopping
from pylon.runners.training.evaluation import Batch, Task, count_batches
from pylon.runners.training.loop import train
from pylon.runners.training.optimizing import build_optimizer, report_groups
from pylon.runners.training.parts import TrainingParts, build_loaders, build_parts
from pylon.runners.training.rehearsal import rehearse_training
from pylon.runners.training.step_options import Stepping
from pylon.runners.training.streams import report_stream
from pylon.runners.training.training import Training


class BaseTrainer(BaseRunner):
    """Trains for the configured epochs and tests the best. A subclass defines what is learnt: `make_task`.

    Args:
        context: what the launcher gives; not part of a configuration.
        log_every_steps: losses leave the device and reach `metrics.jsonl` in groups of so many steps.
        scheduler_interval: 'epoch' or 'step': what one step of the scheduler is. If its `step` needs a value
            (ReduceLROnPlateau), it gets the validation score, once per epoch.
        deterministic: ask torch for deterministic kernels, and add up the ranks' gradients in a fixed order.
        checkpointing: when to save in the middle of an epoch, and how; None: at the epochs' ends only.
        stepping: how a step is taken; None: one batch, float32.
        retention: which checkpoints stay; None: the newest and the best.
        early_stopping: when to end before the last epoch; None: never.
        initial_checkpoint: the checkpoint whose weights the model starts with, read when the run begins and
            never again; 'stage:NAME' for the best one of the run directory NAME next to this one. None:
            what the model's constructor gives.
        initial_prefixes: take over only the weights whose names begin so; None: all.
        parameter_groups: which of the model's parameters have values of the optimizer of their own:
            [{'pattern': '*.bias', 'weight_decay': 0.0}, ...], or 'kind': 'norms_and_biases'. None: none.
        others: see BaseRunner.
    """

    REQUIRED_KEYS: ClassVar[frozenset[str]] = TRAINER_KEYS
    OPTIONAL_KEYS: ClassVar[frozenset[str]] = OPTIONAL_TRAINER_KEYS
    # Of version 0.1: the argument that replaces each, and which argument of its class.
    FORMER_ARGUMENTS: ClassVar[dict[str, tuple[str, type, str]]] = {
        "checkpoint_every_steps": ("checkpointing", Checkpointing, "every_steps"),
        "checkpoint_every_minutes": ("checkpointing", Checkpointing, "every_minutes"),
        "asynchronous_checkpoints": ("checkpointing", Checkpointing, "asynchronous"),
    }

    def __init__(
        self,
        context: RunContext,
        *,
        log_every_steps: int = 10,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        deterministic: bool = True,
        checkpointing: Checkpointing | None = None,
        stepping: Stepping | None = None,
        retention: Retention | None = None,
        early_stopping: EarlyStopping | None = None,
        initial_checkpoint: str | None = None,
        initial_prefixes: Sequence[str] | None = None,
        parameter_groups: Sequence[Mapping[str, Any]] | None = None,
        **others: HandedOn,
    ) -> None:
        super().__init__(context, **others)
        self.check_arguments({"checkpointing": checkpointing, "retention": retention})
        self.log_every_steps = log_every_steps
        self.scheduler_interval = scheduler_interval
        self.deterministic = deterministic
        self.checkpointing = checkpointing or Checkpointing()
        self.stepping = stepping or Stepping()
        self.retention = retention or Retention()
        self.early_stopping = early_stopping
        self.initial_checkpoint = initial_checkpoint
        self.initial_prefixes = initial_prefixes
        self.parameter_groups = parameter_groups or ()

    @classmethod
    def check_arguments(cls, arguments: dict[str, Any]) -> None:
        """Refuse arguments that contradict one another, also before anything is built.

        Args:
            arguments: by name; those whose value is not known yet are absent.

        Raises:
            ValueError: `retention` keeps what `checkpointing` never makes.
        """
        retention = arguments.get("retention")
        if retention is not None and "checkpointing" in arguments:
            retention.check_against(arguments["checkpointing"] or Checkpointing())

    @abstractmethod
    def make_task(self, model: torch.nn.Module, criterion: torch.nn.Module) -> Task:
        """Define how a batch becomes a loss, outputs and scores."""

    def run(self) -> dict[str, Any]:
        """See BaseRunner. Returns the best epoch, its validation scores and the test results."""
        with ExitStack() as stack:
            stack.enter_context(deterministic_kernels(self.deterministic))
            training = self._assembled(stack)
            if self.rehearsal:
                test = None if training.loaders.test is None else self.test_pass(training.loaders.test)
                rehearse_training(
                    training, self.build, self.make_task, test, self._builders(training.direction)
                )
            train(training)
            return self._result(training)

    def _assembled(self, stack: ExitStack) -> Training:
        """Everything that the run works with, as new or from its newest checkpoint; `stack` closes it."""
        context, device, world = self.context, self.context.device, self.context.world
        watch, metric = stack.enter_context(self.watched()), self.build_metric()
        seed_all(context.seeds.init)
        parts = build_parts(
            self.build,
            self.make_task,
            **self._builders(metric.direction(self.score)),
            stepping=self.stepping,
            early_stopping=self.early_stopping,
            device=device,
            world=world,
            deterministic=self.deterministic,
        )
        loaders = build_loaders(self.build_loader, device)
        for loader in loaders:
            stack.callback(loader.close)
        report_start(parts.model, device, loaders.train, loaders.val)
        report_groups(parts.model, self.parameter_groups)
        report_stream(loaders.train, world.size)
        batches = count_batches(loaders.train, self.max_batches)
        warn_of_idle_ranks(batches, world.size)
        if self.scheduler_interval == "step":
            refuse_unknown_length(context.config.get("scheduler"), batches)
        data = loaders.fingerprints()
        resumed = resume(context.directory, world, parts.of_a_checkpoint(), data, lambda: self._begin(parts))
        progress = Progress(ranks=world.size, data=data) if resumed is None else resumed.progress
        history = self._opened_history(stack, progress) if world.writes else None
        curves = None if history is None else self._drawn_curves(stack, history)
        machines = OtherMachines(world, lambda: None if watch.monitor is None else watch.monitor.latest())
        step_log = stack.enter_context(
            StepLog(
                context.directory.metrics if world.writes else None,
                self.log_every_steps,
                EpochLosses() if resumed is None else resumed.losses,
                machines.figures,
                lambda step: training.advice(step),  # noqa: PLW0108 - `training` is made below
                report=watch.sender.losses,
            )
        )
        saver = Saver(
            context.directory,
            step_log,
            history,
            retention=self.retention,
            checkpointing=self.checkpointing,
            direction=metric.direction(self.score),
            resumed=None if resumed is None else progress,
        )
        training = Training(
            context=context,
            watch=watch,
            parts=parts,
            loaders=loaders,
            metric=metric,
            progress=progress,
            step_log=step_log,
            saver=saver,
            curves=curves,
            score=self.score,
            epochs=context.config["epochs"],
            max_batches=self.max_batches,
            stepping=self.stepping,
            data=self._data,
            scheduler_interval=self._steps_of(parts.scheduler),
        )
        loaders.train.end_when(context.stop.may_end_wait, lambda: stop_if_signalled(training))
        return training

    def _opened_history(self, stack: ExitStack, progress: Progress) -> History:
        """The run's history; when `stack` closes, it is written as a list."""
        directory = self.context.directory
        history = stack.enter_context(History(directory.history, self.score, progress.epoch))
        stack.callback(write_as_list, directory.history, directory.history_list)
        return history

    def _drawn_curves(self, stack: ExitStack, history: History) -> CurveDrawing:
        """What draws the run's curves after epochs, and for the last time when `stack` closes."""
        curves = CurveDrawing(self.context.directory.curves, self.score, history.points.chosen)
        stack.callback(curves.finish)
        return curves

    def _builders(self, direction: Direction) -> dict[str, Any]:
        return {
            "data": self._data,
            "first_batch": self._first_batch,
            "build_optimizer": self._build_optimizer,
            "build_scheduler": lambda optimizer: self._build_scheduler(optimizer, direction),
        }

    @property
    def _data(self) -> str:
        """What is trained on, for an error."""
        return f"train_dataset ({self.context.config['train_dataset']['class'].__name__})"

    def _first_batch(self) -> Batch:
        """The first batch of the training, from a loader of its own: the run's is built later."""
        with generators_kept(self.context.device), ExitStack() as stack:
            loader = build_loaders(self.build_loader, self.context.device).train
            loader.set_epoch_seed(self.context.seeds.train[0], [0])
            stack.callback(loader.close)
            return next(iter(loader))

    def _build_optimizer(self, model: torch.nn.Module, criterion: torch.nn.Module) -> torch.optim.Optimizer:
        build, cls = partial(self.build, "optimizer"), self.context.config["optimizer"]["class"]
        return build_optimizer(build, cls, model, criterion, self.parameter_groups)

    def _build_scheduler(self, optimizer: torch.optim.Optimizer, direction: Direction) -> Any:  # noqa: ANN401 - any
        node = self.context.config.get("scheduler")
        mode = {} if node is None else mode_of(node, direction)
        return self.build("scheduler", optimizer=optimizer, **mode)

    def _steps_of(self, scheduler: object) -> Literal["epoch", "step", "score"]:
        needs_score = scheduler is not None and takes_score(type(scheduler))
        return "score" if needs_score else self.scheduler_interval

    def _begin(self, parts: TrainingParts) -> None:
        if self.initial_checkpoint is not None:
            average = None if parts.average is None else parts.average.model
            context = self.context
            start_from(
                self.initial_checkpoint,
                self.initial_prefixes,
                parts.model,
                average,
                directory=context.directory,
                world=context.world,
            )

    def _result(self, training: Training) -> dict[str, Any]:
        """Test the best epoch's weights."""
        progress, parts, metric = training.progress, training.parts, training.metric
        path = self.context.directory.best
        content = self.context.world.on_writer(lambda: checkpoint.read(path))
        checkpoint.restore(path, content, {"model": parts.model, "average": parts.average})
        best = progress.best_epoch
        record = self.context.world.on_writer(lambda: self._best_record(best))
        if best is not None and progress.best_score is None:
            warn_of_undefined_score(self.score, progress.epoch, best)
        better = report_scores(
            "validation", self.score, record["validation"], record.get("baselines", {}), training.direction
        )
        skipped = self.context.world.on_writer(self._skipped_steps)
        report_skipped(skipped, progress.global_step)
        watch, loader = training.watch, training.loaders.test
        results = self.test(parts.evaluated, parts.task, metric, watch, loader, checkpoint=f"epoch_{best}")
        return {
            "epochs": progress.epoch,
            "best_epoch": best,
            "skipped_steps": skipped,
            "validation": {self.score: progress.best_score},
            "validation_better_than_baselines": better,
            **self.result_of_test(results),
        }

    def _skipped_steps(self) -> int:
        return sum(record.get("skipped_steps", 0) for record in read_records(self.context.directory.history))

    def _best_record(self, epoch: int | None) -> dict[str, Any]:
        """What the history holds of the best epoch; if its line is lost, the scores in the epoch's folder."""
        directory = self.context.directory
        for record in read_records(directory.history):
            if record["epoch"] == epoch:
                return record
        scores = directory.read_object(directory.epoch(epoch or 0) / "validation_scores.json") or {}
        return {"validation": scores.get("aggregated", {})}
