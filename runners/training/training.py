"""A training run, assembled once: what its loop works with, and nothing twice."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from pylon.metrics import BaseMetric
from pylon.metrics.directions import Direction
from pylon.runners.distributed import TrainingShare, rank_seed
from pylon.runners.outputs.curve_drawing import CurveDrawing
from pylon.runners.outputs.display import Status
from pylon.runners.outputs.losses import EpochLosses
from pylon.runners.outputs.step_log import Step, StepLog
from pylon.runners.randomness import seed_all
from pylon.runners.run_directory.checkpoint import Progress
from pylon.runners.run_directory.saving import Saver
from pylon.runners.run_directory.snapshots import Results, Snapshot, capture
from pylon.runners.training.context import RunContext
from pylon.runners.training.early_stopping import EarlyStopping
from pylon.runners.training.evaluation import count_batches
from pylon.runners.training.groups import Group, groups_left
from pylon.runners.training.non_finite import advice_of_data
from pylon.runners.training.parts import Loaders, TrainingParts
from pylon.runners.training.passes import EvaluationPass
from pylon.runners.training.step_options import Stepping
from pylon.runners.training.watch import Watch
from pylon.storage import atomic_path

_EPOCHS_OF_MEAN = 5
# Of steps that are left out: each holds a step's batches.
_MOST_DUMPS = 10


@dataclass(frozen=True)
class Training:
    """Everything that the loop of a training run works with.

    Its fields stay; what moves on from step to step is inside `progress`, `parts` and `step_log`.

    Attributes:
        context: what the launcher gives.
        watch: the monitor and the display.
        parts: the model and what else changes with it.
        loaders: of training, validation and test.
        metric: scores validation and test.
        progress: how far the run has come.
        step_log: gets each step.
        saver: writes the checkpoints.
        curves: draws the curves, None on a rank that writes nothing.
        score: the aggregated validation score that chooses the best epoch.
        epochs: how many the run has.
        max_batches: of all ranks in a pass, None for all.
        stepping: how a step is taken.
        data: what is trained on, for an error, as in 'train_dataset (Rows)'.
        scheduler_interval: what one step of the scheduler is: an 'epoch', a 'step' of the training, or a
            'score', the validation score of an epoch, which it is given.
        epoch_times_s: how long the last epochs of this launch took.
    """

    context: RunContext
    watch: Watch
    parts: TrainingParts
    loaders: Loaders
    metric: BaseMetric
    progress: Progress
    step_log: StepLog
    saver: Saver
    curves: CurveDrawing | None
    score: str
    epochs: int
    max_batches: int | None
    stepping: Stepping
    data: str
    scheduler_interval: Literal["epoch", "step", "score"]
    epoch_times_s: deque[float] = field(default_factory=lambda: deque(maxlen=_EPOCHS_OF_MEAN))

    @property
    def direction(self) -> Direction:
        """Which way the score is better."""
        return self.metric.direction(self.score)

    @property
    def stopped_early_by(self) -> EarlyStopping | None:
        """What ends the run before its last epoch, None if nothing does."""
        stopping = self.parts.early_stopping
        ends = stopping is not None and stopping.stopped and self.progress.epoch < self.epochs
        return stopping if ends else None

    @property
    def share(self) -> TrainingShare:
        """Which batches of an epoch this rank takes, step by step."""
        batches, world = count_batches(self.loaders.train, self.max_batches), self.context.world
        return TrainingShare(batches, self.stepping.accumulate_batches, world.rank, world.size)

    def groups_left(self) -> Iterator[Group]:
        """This rank's batches of the running epoch, from the first step that has not been taken."""
        epoch, step = self.progress.epoch, self.progress.step
        seed = self.context.seeds.train[epoch]
        if step == 0:
            # Within an epoch, the generators' states came with the checkpoint.
            seed_all(rank_seed(seed, self.context.world.rank))
        world, at_most = self.context.world, self.max_batches
        return groups_left(
            self.loaders.train, seed, self.share, step, epoch=epoch, world=world, at_most=at_most
        )

    def advice(self, step: Step) -> str:
        """What to do about the non-finite loss of a step that was taken before; every rank must ask."""
        loader, seed = self.loaders.train, self.context.seeds.train[step.epoch]
        return advice_of_data(
            self.context.world, loader, seed, list(self.share.of_step(step.step)), self.data
        )

    def validation(self) -> EvaluationPass:
        """The validation of the running epoch."""
        epoch = self.progress.epoch
        seed = self.context.seeds.val[epoch]
        return EvaluationPass("validate", self.loaders.val, seed, self.max_batches, epoch, self.epochs)

    def advance_scheduler(self, interval: Literal["epoch", "step"]) -> None:
        """Let the scheduler take a step if `interval` is the configured one."""
        if self.parts.scheduler is not None and self.scheduler_interval == interval:
            self.parts.scheduler.step()

    def judge_schedule(self, score: float | None) -> None:
        """Let the scheduler that is given the validation score take its step, once per epoch."""
        scheduler: Any = self.parts.scheduler
        if scheduler is not None and self.scheduler_interval == "score":
            # An undefined score is no improvement, as in early stopping: NaN is never better in a comparison.
            scheduler.step(math.nan if score is None else score)

    def note(self, step: Step, steps: int | None, wait_s: float) -> None:
        """Log, record and show a step of the epoch's `steps` (None if unknown), which has waited `wait_s`."""
        monitor, display = self.watch.monitor, self.watch.display
        self.watch.sender.step(step.global_step, step.step_time_s, wait_s, None, step.epoch)
        self.step_log.add(step, None if monitor is None else monitor.latest())
        if display.due():
            loss, rate = self.step_log.last_loss, step.learning_rate
            self.watch.show(
                Status("train", step.epoch, self.epochs, step.step + 1, steps, loss, rate, step.step_time_s)
            )

    def mark(self, kind: str, /, **detail: Any) -> None:  # noqa: ANN401 - what JSON can express
        """Record an event of the run."""
        self.watch.sender.mark(kind, **detail)

    def save(self, snapshot: Snapshot) -> None:
        """Save a snapshot, or begin to. Raises as Saver.save does."""
        self.mark("checkpoint_begin", epoch=self.progress.epoch, step=self.progress.step)
        try:
            self.saver.save(snapshot)
        finally:
            self.mark("checkpoint_end", epoch=self.progress.epoch, step=self.progress.step)

    def snapshot(self, losses: EpochLosses, results: Results | None = None) -> Snapshot:
        """The state of this moment; with `results`, of the epoch that has just ended with these losses."""
        return capture(self.progress, self.parts.of_a_checkpoint(), losses, results)

    @property
    def place(self) -> str:
        """The running step, for a message."""
        return f"epoch {self.progress.epoch}, step {self.progress.step}"

    def dump(self, content: dict[str, Any], must: bool) -> str:
        """Write what reproduces the running step, if it `must` or there are few; which step, and the file."""
        epoch, step = self.progress.epoch, self.progress.step
        path = self.context.directory.non_finite(epoch, step)
        if not must and len(list(path.parent.glob("*.pt"))) >= _MOST_DUMPS:
            return f"{self.place}: not written, as {path.parent} holds {_MOST_DUMPS} others"
        place = {"epoch": epoch, "step": step, "epoch_seed": self.context.seeds.train[epoch]}
        if self.context.world.writes:
            with atomic_path(path) as temporary:
                torch.save(content | place, temporary)
        return f"{self.place}: {path}"
