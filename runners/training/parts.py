"""What a training run works with, built from its configuration: model, task, optimizer, stepper."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pylon.data import DataLoader
from pylon.runners.config.contracts import checked_task
from pylon.runners.distributed import AllGenerators, World
from pylon.runners.errors import ConfigError, TrainingError
from pylon.runners.randomness import RandomState, generators_kept
from pylon.runners.run_directory.checkpoint import Stateful
from pylon.runners.training.averaging import WeightAverage
from pylon.runners.training.evaluation import Task
from pylon.runners.training.stepping import Stepper, Stepping


@dataclass(frozen=True)
class TrainingParts:
    """The parts that change from step to step.

    Attributes:
        model: what is trained, as it is saved.
        criterion: its loss.
        average: of the model's weights, None without one.
        evaluated: the model that is validated and tested: the average's, or `model` itself.
        task: predicts with `evaluated`.
        optimizer: of the model's parameters.
        scheduler: of its learning rate, None without one.
        stepper: takes the steps.
        random: the generators of this process.
        generators: those of all ranks.
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
        }


def build_parts(
    build: Callable[..., Any],
    make_task: Callable[[torch.nn.Module, torch.nn.Module], Task],
    *,
    stepping: Stepping,
    device: torch.device,
    world: World,
    deterministic: bool,
    dump: Callable[[dict[str, Any]], str],
) -> TrainingParts:
    """Build the parts, in an order that decides which random numbers each gets.

    Args:
        build: builds an entry of the configuration by its key.
        make_task: says how a batch becomes a loss, outputs and scores.
        stepping: how steps are taken.
        device: where the model goes.
        world: the ranks that train it.
        deterministic: whether a run that goes on must give the bits of one that was not interrupted.
        dump: writes what reproduces a step whose numbers are none.
    """

    def task_of(used: torch.nn.Module) -> Task:
        methods = ("training_loss", "predict", "score")
        return checked_task(make_task(used, criterion), make_task.__qualname__, methods)

    model = build("model").to(device)
    if stepping.channels_last:
        model = model.to(memory_format=torch.channels_last)
    criterion = build("criterion").to(device)
    optimizer = build("optimizer", params=model.parameters())
    random = RandomState(device)
    # After its first step, torch groups the gradients anew, in the order in which they came: a launch that
    # goes on would add up some of them in another order than the one before. With two summands there is no
    # order, and where unused parameters are looked for, the groups stay.
    regrouped = deterministic and world.size > 2
    replica = world.replicate(model, find_unused_parameters=stepping.find_unused_parameters or regrouped)
    # Only now the ranks have the same weights, also where a model begins with unseeded ones.
    average = None
    if stepping.ema_decay is not None:
        average = WeightAverage(model, stepping.ema_decay, evaluated=stepping.evaluate_ema)
    evaluated = model if average is None or not stepping.evaluate_ema else average.model
    stepper = Stepper(
        stepping,
        task=task_of(torch.compile(replica) if stepping.compile else replica),
        modules=[model, criterion],
        replica=replica,
        average=average,
        optimizer=optimizer,
        random=random,
        device=device,
        world=world,
        dump=dump,
    )
    return TrainingParts(
        model=model,
        criterion=criterion,
        average=average,
        evaluated=evaluated,
        task=task_of(evaluated),
        optimizer=optimizer,
        scheduler=build("scheduler", optimizer=optimizer),
        stepper=stepper,
        random=random,
        generators=AllGenerators(random, world),
    )


def build_loaders(
    build_loader: Callable[[str], DataLoader | None], device: torch.device
) -> tuple[DataLoader, DataLoader, DataLoader | None]:
    """The loaders of training, validation and test; the last one is None where none is configured.

    Args:
        build_loader: builds one by its split.
        device: of the run.

    Raises:
        TrainingError: one of the first two is configured as None.
        ConfigError: one of them makes no batch.
    """
    loaders = {split: build_loader(split) for split in ("train", "val")}
    for split, loader in loaders.items():
        if loader is None:
            raise TrainingError(f"{split}_dataset: None, but training needs it.")
    # Needed last, and built now so that what is wrong with it is told before the first step.
    with generators_kept(device):
        loaders["test"] = build_loader("test")
    for split, loader in loaders.items():
        if loader is not None and len(loader) == 0:
            raise ConfigError.single(
                f"{split}_dataloader.args.batch_size",
                loader.batch_size,
                f"at most {len(loader.dataset)}, the number of datapoints, or drop_last=False: "
                "there would be no batch",
                "configuration",
            )
    return loaders["train"], loaders["val"], loaders["test"]
