"""What would fail at the end is tried at the start, on copies: a batch of each pass, a step, the schedule.

validation, test: predict, score, summarise, draw ──> training: a whole step ──> the schedule
"""

import contextlib
import copy
import functools
import json
import warnings
from collections.abc import Callable, Sequence, Sized
from typing import Any

import torch

from pylon.data import DataLoader, StreamDataset
from pylon.masking import secret_values
from pylon.metrics import BaseMetric, as_metric
from pylon.runners.config.contracts import checked_scores
from pylon.runners.distributed import World
from pylon.runners.errors import TrainingError
from pylon.runners.memory import is_out_of_memory
from pylon.runners.outputs.pictures import pictures_of
from pylon.runners.randomness import RandomState, seed_all
from pylon.runners.run_directory.plain import recorded
from pylon.runners.training.blame import Blame
from pylon.runners.training.context import RunContext
from pylon.runners.training.evaluation import Batch, Task, count_batches
from pylon.runners.training.non_finite import advice, non_finite_inputs
from pylon.runners.training.parts import NoCriterion, TrainingParts, build_parts
from pylon.runners.training.passes import EvaluationPass
from pylon.runners.training.read_again import warn_of_other_batches, warn_of_other_stream
from pylon.runners.training.stepping import NonFiniteError
from pylon.runners.training.streams import first_batches, rehearsed_batches
from pylon.runners.training.training import Training
from pylon.runners.training.undone import undone
from pylon.runners.training.unsaved import counters_of, warn_of_unsaved

_TRIED_STEPS = 10_000

Build = Callable[..., Any]


def rehearse_training(
    training: Training,
    build: Build,
    make_task: Callable[[torch.nn.Module, torch.nn.Module], Task],
    test: EvaluationPass | None,
    builders: dict[str, Any],
) -> None:
    """Try what the run has not done yet. Weights, generators, files and the metric stay as they were.

    Every rank tries the same batches, so that all fail alike.

    Args:
        training: assembled, before its next step.
        build: builds an entry of the configuration by its key.
        make_task: defines how a batch becomes a loss, outputs and scores.
        test: the test pass, None without one.
        builders: what else `build_parts` builds with, by argument.

    Raises:
        ConfigError: a configured class fails on a batch.
        DataError: a batch cannot be read, or its datapoints do not fit together.
    """
    progress, context = training.progress, training.context
    if progress.epoch >= training.epochs:
        return
    plans = {} if progress.best_epoch is not None else {"val": training.validation()}
    with undone(training.parts.random):
        parts = _copied_parts(training, build, make_task, builders)
        named = {"runner": parts.task, "model": parts.model, "criterion": parts.criterion}
        named |= {"optimizer": parts.optimizer, "scheduler": parts.scheduler}
        blame = Blame(named, context.directory.log, secret_values(context.config))
        for split, plan in (plans if test is None else {**plans, "test": test}).items():
            _rehearse_pass(
                split,
                plan,
                model=parts.model,
                task=parts.task,
                metric=as_metric(build("metric")),
                score=training.score,
                context=context,
                blame=blame,
            )
        if progress.global_step == 0:
            _rehearse_steps(training, parts, blame)
            _rehearse_schedule(training, parts.scheduler, blame)


def rehearse_test(
    plan: EvaluationPass,
    model: torch.nn.Module,
    *,
    build: Build,
    make_task: Callable[[torch.nn.Module], Task],
    score: str,
    context: RunContext,
) -> None:
    """The same for a run that only tests.

    Args:
        plan: the test pass.
        model: with the weights to test.
        build: builds an entry of the configuration by its key.
        make_task: defines how a batch becomes outputs and scores.
        score: the leading one.
        context: what the launcher gives.
    """
    random = RandomState(context.device)
    random.take_in({"model": model})
    with undone(random):
        (copied,) = _copies({"model": model}, build, context.device)
        task = make_task(copied)
        blame = Blame({"runner": task, "model": copied}, context.directory.log, secret_values(context.config))
        _rehearse_pass(
            "test",
            plan,
            model=copied,
            task=task,
            metric=as_metric(build("metric")),
            score=score,
            context=context,
            blame=blame,
        )


def _copied_parts(
    training: Training,
    build: Build,
    make_task: Callable[[torch.nn.Module, torch.nn.Module], Task],
    builders: dict[str, Any],
) -> TrainingParts:
    """New parts around copies of the model and the criterion, for a world of one process."""
    own, options = training.parts, copy.copy(training.stepping)
    # A dump or a compiled model is of no use here, and the average is another copy of the same model.
    options.non_finite, options.compile, options.ema_decay = None, False, None
    modules = {"model": own.model, "criterion": own.criterion}
    copies = dict(zip(modules, _copies(modules, build, training.context.device), strict=True))
    return build_parts(
        lambda key, **injected: copies[key] if key in copies else build(key, **injected),
        make_task,
        **builders,
        stepping=options,
        early_stopping=None,
        device=training.context.device,
        world=World(),
        # In the mode of the run's own backward passes; several ranks have no other.
        deterministic=training.context.world.size == 1,
    )


def _copies(modules: dict[str, torch.nn.Module], build: Build, device: torch.device) -> list[torch.nn.Module]:
    """Copies of configured modules, by key; built again if torch cannot copy them (old weight_norm)."""
    try:
        return copy.deepcopy(list(modules.values()))
    except Exception as error:
        if is_out_of_memory(error):
            raise
    copies = []
    for key, module in modules.items():
        copies.append((build(key) or NoCriterion()).to(device))
        copies[-1].load_state_dict(module.state_dict())
    return copies


def _batches(
    split: str,
    loader: DataLoader,
    seed: int,
    *,
    at_most: int | None,
    blame: Blame,
    world: World,
    again: bool = False,
) -> list[Batch]:
    """The first batch of a pass, and its last one if that has fewer datapoints than the first."""
    former = loader.generator.get_state()
    try:
        with blame.of_reading(split, loader.dataset):
            if loader.stream is not None:
                return first_batches(loader, seed) if again else rehearsed_batches(split, loader, seed, world)
            loader.set_epoch_seed(seed, _rehearsed(loader, at_most))
            return list(loader)
    finally:
        loader.generator.set_state(former)
        if split != "train" or not loader.persistent_workers:
            loader.close()


def _rehearsed(loader: DataLoader, at_most: int | None) -> list[int]:
    """Which batches are tried of data that are read by their index."""
    total = count_batches(loader, at_most) or 0
    short = not loader.drop_last and _size(loader) % (loader.batch_size or 1) != 0
    return [0, total - 1] if short and 1 < total == len(loader) else [0]


def _size(loader: DataLoader) -> int:
    return len(loader.dataset) if isinstance(loader.dataset, Sized) else 0


def _rehearse_pass(
    split: str,
    plan: EvaluationPass,
    *,
    model: torch.nn.Module,
    task: Task,
    metric: BaseMetric,
    score: str,
    context: RunContext,
    blame: Blame,
) -> None:
    if context.stop.may_end_wait():
        context.stop.raise_if_signalled()
    blame.parts["metric"] = metric
    batches = _batches(
        split, plan.loader, plan.seed, at_most=plan.max_batches, blame=blame, world=context.world
    )
    seed_all(plan.seed)
    model.eval()
    doing = f"in a rehearsal of {'validation' if split == 'val' else 'the test'}"
    with torch.inference_mode():
        metric.reset()
        for batch in batches:
            with blame.of("model", doing, batch):
                outputs = task.predict(batch)
            with blame.of("metric", doing, {**batch, "outputs": outputs}):
                metric.expect(batch["meta_info"]["idx"])
                task.score(metric, outputs, batch)
            if plan.pictures and context.world.writes:
                with blame.of("runner", f"{doing}, drawing a picture", {**batch, "outputs": outputs}):
                    list(pictures_of(batch, outputs, 1))
    with blame.of("metric", f"{doing}, summarising {len(batches)} batches", batches[0]):
        if context.world.size > 1:
            metric.merge([metric.part()])
        summary, baselines = metric.summarize(), metric.baselines()
        checked_scores(summary, baselines, score, type(metric).__name__)
        json.dumps(recorded([summary, baselines]))


def _rehearse_steps(training: Training, parts: TrainingParts, blame: Blame) -> None:
    loader, seed = training.loaders.train, training.context.seeds.train[training.progress.epoch]
    read = functools.partial(_batches, "train", loader, seed, blame=blame, world=training.context.world)
    batches = read(at_most=training.max_batches)
    _read_again(training, batches, lambda: read(at_most=1, again=True))
    seed_all(seed)
    parts.model.train()
    parts.stepper.log_nothing()
    blame.parts["runner"] = parts.stepper.task
    counted = {key: blame.parts[key] for key in ("model", "criterion", "runner", "optimizer")}
    counters = counters_of(counted)
    for number, batch in enumerate(batches):
        doing, what_to_do, is_finite = "in a rehearsal of a training step", "", False
        if number:
            count, size = _size(loader), loader.batch_size or 1
            doing += f" with the last batch of an epoch, which has {count % size} of {count} datapoints"
            what_to_do = "Give train_dataloader.args.drop_last=True or another batch_size."
        # What a non-finite loss means is decided where it occurs.
        with blame.of("model", doing, batch, what_to_do), contextlib.suppress(NonFiniteError):
            loss, _ = parts.stepper.step([batch], 1.0, lambda _, __: "", "the rehearsal")
            is_finite = bool(torch.isfinite(loss))
        # Masked values may be NaN: it is the loss that counts.
        if not is_finite and training.stepping.non_finite != "skip" and (found := non_finite_inputs([batch])):
            why = advice(found, training.data)
            raise TrainingError(f"found before the first step: the loss is not finite. {why}")
    warn_of_unsaved(counters, counters_of(counted))


def _read_again(training: Training, batches: Sequence[Batch], read: Callable[[], list[Batch]]) -> None:
    """Warn if what was read has other numbers when it is read once more."""
    dataset, again = training.loaders.train.dataset, read()
    if not isinstance(dataset, StreamDataset):
        warn_of_other_batches(training.data, batches, again)
    elif again:
        warn_of_other_stream(dataset.name, batches[0], again[0])
    else:
        raise TrainingError(
            f"train_dataset: {dataset.name} gives nothing when it is opened again, as each epoch opens it. "
            "Let __iter__ begin from the beginning whenever it is called."
        )


def _rehearse_schedule(training: Training, scheduler: Any, blame: Blame) -> None:  # noqa: ANN401 - own ones too
    """Let the schedule take every step that the run will ask of it, or the first ones of very many."""
    per_epoch = {"epoch": 1, "step": training.share.steps}.get(training.scheduler_interval)
    total = None if per_epoch is None else training.epochs * per_epoch
    if scheduler is None or total is None:
        return
    longer = f"Let it last for {total} steps, or change epochs or runner.args.scheduler_interval."
    with warnings.catch_warnings(action="ignore"):  # no optimizer takes a step here
        for number in _tried_of(total, scheduler):
            doing = f"at its step {number} of {total} ({training.epochs} epochs)"
            with blame.of("scheduler", doing, advice=longer if number > 1 else ""):
                if number > _TRIED_STEPS:
                    scheduler.last_epoch = total - 1
                scheduler.step()


def _tried_of(total: int, scheduler: object) -> Sequence[int]:
    """Which steps of a schedule are tried."""
    tried = range(1, min(total, _TRIED_STEPS) + 1)
    # torch's only schedule with an end follows from the number of the step alone.
    ends = isinstance(scheduler, torch.optim.lr_scheduler.OneCycleLR)
    return [*tried, total] if ends and total > _TRIED_STEPS else tried
