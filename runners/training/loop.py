"""Training as a method section: epochs of steps, each epoch validated and saved, the best one kept.

train ── train_epoch ── train_step ──> boundary.end_step: save, stop
     └── finish_epoch ── validate ──> checkpoint, history
"""

import logging
import time
from dataclasses import dataclass
from typing import Any

import torch

from pylon.runners.config.contracts import checked_scores
from pylon.runners.memory import is_out_of_memory, out_of_memory
from pylon.runners.outputs.report import mean_of_finite, report_epoch, time_left
from pylon.runners.outputs.step_log import Step
from pylon.runners.run_directory.plain import recorded
from pylon.runners.run_directory.snapshots import Results
from pylon.runners.training import boundary
from pylon.runners.training.evaluation import Batch
from pylon.runners.training.passes import run_pass
from pylon.runners.training.stepping import NonFiniteError
from pylon.runners.training.training import Training

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validation:
    """What an epoch's validation gave.

    Attributes:
        summary: the metric's.
        score: the one that epochs are judged by.
        baselines: the metric's.
        time_s: spent on it.
    """

    summary: dict[str, Any]
    score: float | None
    baselines: dict[str, dict[str, float | None]]
    time_s: float


def train(training: Training) -> None:
    """Train from where the run's progress is to its last epoch, and bring everything to the disk.

    Raises:
        RunStopped: a signal has come; the last step is saved.
        TrainingError: a number is not finite, or memory is used up.
        Exception: what the data, the task or a save in the background raised.
    """
    while training.progress.epoch < training.epochs and training.stopped_early_by is None:
        boundary.stop_if_signalled(training)
        if not training.progress.trained:
            train_epoch(training)
        finish_epoch(training, validate(training))
    if (stopping := training.stopped_early_by) is not None:
        logger.info("stopped early: %s has not improved for %d epochs", training.score, stopping.patience)
    training.saver.finish()


def train_epoch(training: Training) -> None:
    """Take the rest of the running epoch's steps."""
    progress, parts, steps = training.progress, training.parts, training.share.steps
    groups = boundary.guarded(training, training.groups_left())
    parts.model.train()
    training.mark("epoch", epoch=progress.epoch, epochs=training.epochs, step=progress.step)
    training.mark("learning_rate", value=_learning_rate(parts.optimizer))
    asked = started = time.perf_counter()
    for number, group in enumerate(groups, start=progress.step):
        wait_s = time.perf_counter() - asked
        rate = _learning_rate(parts.optimizer)
        loss, skipped = train_step(training, group.batches, group.weight)
        ended = time.perf_counter()
        step_time_s, started = ended - started, ended
        step = Step(progress.epoch, number, progress.global_step, loss, rate, step_time_s, skipped)
        training.note(step, steps, wait_s)
        progress.count_step(step_time_s, last=group.last, skipped=skipped)
        if progress.trained:
            training.advance_scheduler("epoch")
        boundary.end_step(training)
        asked = time.perf_counter()


def train_step(training: Training, batches: list[Batch], weight: float) -> tuple[torch.Tensor, bool]:
    """Take one step with this rank's batches; the ranks' mean loss, and whether the step was left out."""
    try:
        loss, skipped = training.parts.stepper.step(batches, weight, training.dump, training.place)
    except NonFiniteError:
        if training.stepping.non_finite == "stop":
            boundary.save_now(training)
        raise
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(error, training.watch.monitor, training.context.device) from error
    if not skipped:
        training.advance_scheduler("step")
    return loss, skipped


def validate(training: Training) -> Validation:
    """Validate and judge the running epoch. Whatever that raises, the trained epoch is saved."""
    started, parts, metric = time.monotonic(), training.parts, training.metric
    plan, context, watch = training.validation(), training.context, training.watch
    # Later, a rank that ends alone could not: the other machines' figures are part of the lines.
    training.step_log.flush()
    training.mark("validation_begin", epoch=training.progress.epoch, split="validation")
    # The next launch validates from the beginning: the generators that are saved are those of now.
    with parts.generators.held():
        try:
            run_pass(plan, parts.evaluated, parts.task, metric, context=context, watch=watch)
            summary, baselines = recorded({**metric.summarize()}), recorded(metric.baselines())
            score = checked_scores(summary, baselines, training.score, type(metric).__name__)
            if parts.early_stopping is not None:
                parts.early_stopping.judge(training.progress.epoch, score, training.direction)
            return Validation(summary, score, baselines, time.monotonic() - started)
        except BaseException:  # a user's sys.exit() and Ctrl-C too
            boundary.save_trained(training)
            raise
        finally:
            training.mark("validation_end", epoch=training.progress.epoch, split="validation")


def finish_epoch(training: Training, validation: Validation) -> None:
    """Count the validated epoch, and save it."""
    progress, parts, losses = training.progress, training.parts, training.step_log.end_epoch()
    score, direction = validation.score, training.direction
    training.judge_schedule(score)
    is_best = progress.judge(score, direction)
    skipped = {"skipped_steps": progress.skipped} if progress.skipped else {}
    record = progress.finish_epoch(
        {
            "training_loss": mean_of_finite(losses.values()),
            "learning_rate": _learning_rate(parts.optimizer),
            **skipped,
            "validation_time_s": round(validation.time_s, 3),
            "validation": validation.summary["aggregated"],
            # All scores of many baselines would outweigh the run's own.
            "baselines": {
                name: {training.score: scores.get(training.score)}
                for name, scores in validation.baselines.items()
            },
        }
    )
    training.mark("score", epoch=record["epoch"], name=training.score, value=score, is_best=is_best)
    training.save(training.snapshot(losses, Results(record, validation.summary)))
    training.epoch_times_s.append(record["training_time_s"] + record["validation_time_s"])
    left = time_left(
        training.epoch_times_s,
        training.epochs - progress.epoch,
        may_stop_early=parts.early_stopping is not None,
    )
    report_epoch(record, training.epochs, training.score, is_best=is_best, left=left)
    if training.curves is not None:
        training.curves.epoch_ended()


def _learning_rate(optimizer: torch.optim.Optimizer) -> float:
    """Of the first group. torch takes a tensor too, and a schedule may make one of it."""
    return float(optimizer.param_groups[0]["lr"])
