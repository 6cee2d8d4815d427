"""The steps of an epoch: batches in, a step, its line in the log, and what is due between two of them."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from pylon.data import DataLoader
from pylon.monitor import SystemMonitor
from pylon.runners.distributed import TrainingShare, rank_seed
from pylon.runners.memory import is_out_of_memory, out_of_memory
from pylon.runners.outputs.step_log import Step, StepLog
from pylon.runners.randomness import seed_all
from pylon.runners.run_directory.boundary import Boundary
from pylon.runners.run_directory.checkpoint import Progress
from pylon.runners.training.base_runner import RunContext
from pylon.runners.training.evaluation import count_batches
from pylon.runners.training.parts import TrainingParts
from pylon.runners.training.stepping import NonFiniteError, Stepping


@dataclass(frozen=True)
class TrainingLoop:
    """Takes the steps of an epoch, from where the run's progress stands.

    Attributes:
        context: of the run.
        parts: what a step works with.
        loader: of the training data.
        progress: moved on with each step.
        step_log: gets each step.
        boundary: between two steps.
        stepping: how a step is taken.
        scheduler_interval: 'epoch' or 'step': what one step of the scheduler is.
        max_batches: of all ranks in an epoch, None for all.
        monitor: of this machine, None without one.
        show: called after each step with it and with how many the epoch has.
    """

    context: RunContext
    parts: TrainingParts
    loader: DataLoader
    progress: Progress
    step_log: StepLog
    boundary: Boundary
    stepping: Stepping
    scheduler_interval: Literal["epoch", "step"]
    max_batches: int | None
    monitor: SystemMonitor | None
    show: Callable[[Step, int], None]

    def train(self, epoch: int) -> None:
        """Take the rest of an epoch's steps.

        Raises:
            RunStopped: a stop was asked for; the last step is saved.
            TrainingError: a number is none, or memory is used up.
            Exception: what the data, the task or a save in the background raised.
        """
        seed, progress, world = self.context.seeds.train[epoch], self.progress, self.context.world
        if progress.step == 0:
            # Within an epoch, the generators' states came with the checkpoint.
            seed_all(rank_seed(seed, world.rank))
        batches = count_batches(self.loader, self.max_batches)
        share = TrainingShare(batches, self.stepping.accumulate_batches, world.rank, world.size)
        self.loader.set_epoch_seed(seed, share.numbers(progress.step))
        loaded = self.boundary.guarded(iter(self.loader))
        self.parts.model.train()
        started = time.perf_counter()
        for number in range(progress.step, share.steps):
            group = list(itertools.islice(loaded, len(share.of_step(number))))
            learning_rate = self.parts.optimizer.param_groups[0]["lr"]
            loss, skipped = self._step(group, share.weight(number))
            now = time.perf_counter()
            step = Step(epoch, number, progress.global_step, loss, learning_rate, now - started, skipped)
            self.step_log.add(step, None if self.monitor is None else self.monitor.latest())
            self.show(step, share.steps)
            progress.step += 1
            progress.global_step += 1
            progress.training_time_s += now - started
            started = now
            if progress.step == share.steps:
                self._advance_scheduler("epoch")
                progress.trained = True
            self.boundary.end_step()

    def _step(self, batches: list[dict[str, Any]], weight: float) -> tuple[torch.Tensor, bool]:
        try:
            loss, skipped = self.parts.stepper.step(batches, weight)
        except NonFiniteError:
            if self.stepping.non_finite == "stop":
                self.boundary.save_now()
            raise
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise out_of_memory(error, self.monitor, self.context.device) from error
        self._advance_scheduler("step")
        return loss, skipped

    def _advance_scheduler(self, interval: str) -> None:
        if self.parts.scheduler is not None and self.scheduler_interval == interval:
            self.parts.scheduler.step()
