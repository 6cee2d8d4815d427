"""Two models trained in turn (a GAN), with an own task, optimizer and trainer: points on a ring."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.data import Dataset

from pylon.data import DataLoader
from pylon.metrics import BaseMetric, Direction
from pylon.runners import Batch, SupervisedSingleTask, SupervisedSingleTaskTrainer, Task

SECTORS = 8


class Ring(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Noise (8,) for the generator, and a point (2,) near the circle of radius 1.

    To change: the second of both, to what the generator is to learn.

    Args:
        seed: of the points; another one for each split.
        count: how many.
    """

    def __init__(self, seed: int, count: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        angle = 2 * math.pi * torch.rand(count, generator=generator)
        radius = 1 + 0.05 * torch.randn(count, generator=generator)
        self.points = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(8), self.points[index]


class Pair(nn.Module):
    """Generator and discriminator in one model, so that both are saved, resumed and shared by ranks.

    To change: the layers of both.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.Linear(8, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )
        self.discriminator = nn.Sequential(
            nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def forward(self, noise: torch.Tensor, real: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """Points (B, 2) of noise (B, 8); with real points, three logits (B, 1).

        The discriminator's of the real and of the generated points, which train it; and of the generated
        points again through a discriminator that gets no gradient, which train the generator.
        """
        points: torch.Tensor = self.generator(noise)
        if real is None:
            return (points,)
        fixed = {name: one.detach() for name, one in self.discriminator.named_parameters()}
        judged: torch.Tensor = torch.func.functional_call(self.discriminator, fixed, (points,))
        return self.discriminator(real), self.discriminator(points.detach()), judged


class InTurn(torch.optim.Adam):
    """A step of the first parameter group, then one of the second, which sees the first group's new values.

    To change: how many steps each group takes.
    """

    def step(self, closure: Callable[[], torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
        """Take both steps. The closure is required, so that Pylon gives one: it evaluates the batch again."""
        for turn in range(len(self.param_groups)):
            loss = closure()
            for number, group in enumerate(self.param_groups):
                for parameter in group["params"] if number != turn else ():
                    parameter.grad = None
            super().step()
        return loss


class Adversaries(SupervisedSingleTask):
    """Outputs are the generator's points; the loss of a batch is the sum of both losses.

    To change: the losses.
    """

    def training_loss(self, batch: Batch) -> torch.Tensor:
        """The discriminator's loss and the generator's: no parameter gets a gradient from both."""
        real, generated, judged = self.model(self.inputs(batch), self.target(batch))
        loss = nn.functional.softplus(-real) + nn.functional.softplus(generated)
        total: torch.Tensor = (loss + nn.functional.softplus(-judged)).mean()
        return total

    def predict(self, batch: Batch) -> torch.Tensor:
        """See Task."""
        points: torch.Tensor = self.model(self.inputs(batch))[0]
        return points


class AdversarialTrainer(SupervisedSingleTaskTrainer):
    """Trains with the task above; everything else is the trainer's. To change: nothing."""

    def make_task(self, model: nn.Module, criterion: nn.Module) -> Task:
        """See BaseTrainer."""
        return Adversaries(model, criterion, self.context.device)


class Difference(BaseMetric):
    """The share of points that would have to move to make both distributions equal.

    Points are counted in sectors of the ring, and off it. All points in one place are the baseline.

    To change: into what cells points are counted.
    """

    directions: ClassVar[Mapping[str, Direction]] = {"difference": "lower"}

    def _statistics(self, outputs: torch.Tensor, target: torch.Tensor, idx: Sequence[int]) -> torch.Tensor:
        return torch.stack([_cells(outputs), _cells(target)], dim=1)

    def _scores(self, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
        generated, real = statistics.unbind(dim=1)
        return {"difference": (generated - real).abs().sum(dim=1) / (2 * real.sum(dim=1))}

    def baselines(
        self, buffer: Mapping[int, torch.Tensor] | None = None
    ) -> dict[str, dict[str, float | None]]:
        """See BaseMetric."""
        entries = self.get_buffer() if buffer is None else buffer
        real = torch.stack(list(entries.values()))[:, 1].sum(dim=0)
        return {"one_place": {"difference": float(1 - real.max() / real.sum())}}


def _cells(points: torch.Tensor) -> torch.Tensor:
    """In which sector of the ring each point is, one-hot; the last cell is for those off the ring."""
    sector = ((points[:, 1].atan2(points[:, 0]) / math.pi + 1) * SECTORS / 2).long().clamp(max=SECTORS - 1)
    off = (points.norm(dim=1) - 1).abs() > 0.2
    return nn.functional.one_hot(sector.masked_fill(off, SECTORS), SECTORS + 1)


def _split(seed: int, count: int) -> dict[str, Any]:
    return {"class": Ring, "args": {"seed": seed, "count": count}}


config = {
    "runner": {
        "class": AdversarialTrainer,
        # The first group has all other parameters: the discriminator's.
        "args": {"score": "difference", "parameter_groups": [{"pattern": "generator.*", "lr": 0.001}]},
    },
    "work_dir": "logs/examples/two_models",
    "epochs": 12,
    "seed": 1,
    "model": {"class": Pair, "args": {}},
    "criterion": {"class": nn.Identity, "args": {}},  # the task has its own losses
    "metric": {"class": Difference, "args": {}},
    "optimizer": {"class": InTurn, "args": {"lr": 0.002, "betas": (0.5, 0.99)}},
    "train_dataset": _split(1, 2560),
    "train_dataloader": {"class": DataLoader, "args": {"batch_size": 64, "shuffle": True, "num_workers": 2}},
    "val_dataset": _split(2, 500),
    "val_dataloader": {"class": DataLoader, "args": {"batch_size": 250}},
    "test_dataset": _split(3, 500),
    "test_dataloader": {"class": DataLoader, "args": {"batch_size": 250}},
}
