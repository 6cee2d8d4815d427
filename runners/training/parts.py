"""What a training run works with, built from its configuration: model, task, optimizer, stepper."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from pylon.data import DataLoader
from pylon.runners.config.contracts import checked_task
from pylon.runners.distributed import AllGenerators, World
from pylon.runners.errors import TrainingError
from pylon.runners.randomness import RandomState, generators_kept
from pylon.runners.run_directory.checkpoint import Stateful
from pylon.runners.training.averaging import WeightAverage
from pylon.runners.training.early_stopping import EarlyStopping
from pylon.runners.training.evaluation import Batch, Task
from pylon.runners.training.lazy import initialise_lazy
from pylon.runners.training.rank_means import same_on_all
from pylon.runners.training.same_on_ranks import refuse_other_parameters
from pylon.runners.training.step_options import Stepping
from pylon.runners.training.stepping import Stepper
from pylon.runners.training.wrong_gradients import watch_convolutions


class NoCriterion(torch.nn.Module):
    """Takes the place of a criterion that is configured as None."""

    def forward(self, *_: object, **__: object) -> torch.Tensor:
        """Raises TrainingError: nothing can be computed."""
        raise TrainingError(
            "criterion: None, but the task calls it. Configure one, or give the loss in training_loss of a "
            "task of your own."
        )


@dataclass(frozen=True)
class TrainingParts:
    """The parts that change from step to step.

    Attributes:
        model: what is trained, as it is saved.
        criterion: its loss, whose parameters are trained too; a NoCriterion if None is configured.
        average: of the model's weights, None without one.
        evaluated: the model that is validated and tested: the average's, or `model` itself.
        task: predicts with `evaluated`.
        optimizer: of the model's parameters, and in a last group of the criterion's if it has any.
        scheduler: of its learning rates, None without one.
        stepper: takes the steps.
        random: the generators of this process.
        generators: those of all ranks.
        early_stopping: judges each epoch, None without it.
    """

    model: torch.nn.Module
    criterion: torch.nn.Module
    average: WeightAverage | None
    evaluated: torch.nn.Module
    task: Task
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None
    stepper: Stepper
    random: RandomState
    generators: AllGenerators
    early_stopping: EarlyStopping | None

    def of_a_checkpoint(self) -> dict[str, Stateful | None]:
        """What a checkpoint holds of them, by name."""
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "criterion": self.criterion,
            "random": self.generators,
            "stepping": self.stepper,
            "average": self.average,
            "early_stopping": self.early_stopping,
        }


def build_parts(
    build: Callable[..., Any],
    make_task: Callable[[torch.nn.Module, torch.nn.Module], Task],
    *,
    first_batch: Callable[[], Batch],
    build_optimizer: Callable[[torch.nn.Module, torch.nn.Module], torch.optim.Optimizer],
    build_scheduler: Callable[[torch.optim.Optimizer], Any],
    stepping: Stepping,
    early_stopping: EarlyStopping | None,
    data: str,
    device: torch.device,
    world: World,
    deterministic: bool,
) -> TrainingParts:
    """Build the parts, in an order that decides which random numbers each gets.

    Args:
        build: builds an entry of the configuration by its key.
        make_task: defines how a batch becomes a loss, outputs and scores.
        first_batch: gives a batch of the training data to lazy layers.
        build_optimizer: builds the optimizer of a model and its criterion.
        build_scheduler: builds the scheduler of an optimizer; None if none is configured.
        stepping: how steps are taken.
        early_stopping: judges each epoch.
        data: what is trained on, for an error, as in 'train_dataset (Rows)'.
        device: where the model goes.
        world: the ranks that train it.
        deterministic: whether a resumed run must give the bits of one that was not interrupted.
    """

    def task_of(used: torch.nn.Module) -> Task:
        methods = ("training_loss", "predict", "score")
        return checked_task(make_task(used, criterion), make_task.__qualname__, methods)

    def as_configured(model: torch.nn.Module) -> torch.nn.Module:
        if stepping.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # no 4-D case there
        return model

    def built_again() -> torch.nn.Module:
        with generators_kept(device):
            return as_configured(build("model").to(device))

    model: torch.nn.Module = build("model").to(device)
    criterion = (build("criterion") or NoCriterion()).to(device)
    initialise_lazy([model, criterion], lambda: task_of(model), first_batch)
    model = as_configured(model)
    for key, module in (("model", model), ("criterion", criterion)):
        watch_convolutions(key, module, device, compiled=bool(stepping.compile))
        refuse_other_parameters(world, key, module)
    learnt = [parameter for parameter in criterion.parameters() if parameter.requires_grad]
    same_on_all(world, learnt)
    optimizer = build_optimizer(model, criterion)
    random = RandomState(device)
    # After its first step, torch groups the gradients again, in the order in which they came: a resumed
    # launch would add up some of them in another order than the launch before. With two summands there is
    # no order, and if unused parameters are looked for, the groups stay.
    regrouped = deterministic and world.size > 2
    replica = world.replicate(model, find_unused_parameters=stepping.find_unused_parameters or regrouped)
    # Only now the ranks have the same weights, even if a model begins with unseeded ones.
    average = None
    if stepping.ema_decay is not None:
        average = WeightAverage(model, stepping.ema_decay, evaluated=stepping.evaluate_ema, build=built_again)
    evaluated = model if average is None or not stepping.evaluate_ema else average.model
    compiled: Any = replica
    if stepping.compile:
        mode = None if stepping.compile is True else stepping.compile
        compiled = torch.compile(replica, mode=mode)
    stepper = Stepper(
        stepping,
        task=task_of(compiled),
        modules=[model, criterion],
        replica=replica,
        learnt=learnt,
        average=average,
        optimizer=optimizer,
        data=data,
        random=random,
        device=device,
        world=world,
        deterministic=deterministic,
    )
    task, scheduler = task_of(evaluated), build_scheduler(optimizer)
    random.take_in(
        {"model": model, "criterion": criterion, "runner": stepper.task, "evaluation": task,
         "optimizer": optimizer, "scheduler": scheduler}
    )  # fmt: skip
    return TrainingParts(
        model=model,
        criterion=criterion,
        average=average,
        evaluated=evaluated,
        task=task,
        optimizer=optimizer,
        scheduler=scheduler,
        stepper=stepper,
        random=random,
        generators=AllGenerators(random, world),
        early_stopping=early_stopping,
    )


@dataclass(frozen=True)
class Loaders:
    """The loaders of a training run.

    Attributes:
        train, val: always there.
        test: None if no test data is configured.
    """

    train: DataLoader
    val: DataLoader
    test: DataLoader | None

    def __iter__(self) -> Iterator[DataLoader]:
        """Those that are there."""
        return (loader for loader in (self.train, self.val, self.test) if loader is not None)

    def fingerprints(self) -> dict[str, str]:
        """What the dataset of each split lists."""
        splits = {"train": self.train, "val": self.val, "test": self.test}
        datasets = {split: loader.dataset for split, loader in splits.items() if loader is not None}
        return {split: dataset.fingerprint() for split, dataset in datasets.items()}


def build_loaders(build_loader: Callable[[str], DataLoader | None], device: torch.device) -> Loaders:
    """The loaders of training, validation and test.

    Args:
        build_loader: builds one by its split.
        device: of the run.

    Raises:
        TrainingError: the one of training or validation is configured as None.
        DataError: a dataset is absent, damaged or empty.
        ConfigError: one of them makes no batch.
    """
    built = {split: build_loader(split) for split in ("train", "val")}
    given = {split: loader for split, loader in built.items() if loader is not None}
    for split in [split for split in built if split not in given]:
        raise TrainingError(f"{split}_dataset: None, but training needs it.")
    # Needed last, and built now so that its problems are reported before the first step.
    with generators_kept(device):
        test = build_loader("test")
    return Loaders(given["train"], given["val"], test)
