"""Regression on a generated table: numbers and a category in each row, and a number to learn."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.data import Dataset

from pylon.data import DataLoader
from pylon.metrics import BaseMetric, Direction
from pylon.runners import SupervisedSingleTaskTrainer

# What each category adds to the number that is learnt.
OFFSETS = (0.0, 4.0, -3.0, 7.0)


class Table(Dataset[dict[str, torch.Tensor]]):
    """Rows of five numbers and a category. Names of a row are those of the model's arguments, and "labels".

    To change: read your file in `__init__` into one tensor per column or group of columns.

    Args:
        seed: of the rows; another one for each split.
        count: how many rows.
    """

    def __init__(self, seed: int, count: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.numbers = torch.rand(count, 5, generator=generator)
        self.category = torch.randint(len(OFFSETS), (count,), generator=generator)
        first, second, third, fourth, fifth = self.numbers.T
        smooth = 10 * (math.pi * first * second).sin() + 20 * (third - 0.5) ** 2 + 10 * fourth + 5 * fifth
        noise = torch.randn(count, generator=generator)
        self.values = smooth + torch.tensor(OFFSETS)[self.category] + noise
        self.numbers = (self.numbers - 0.5) * math.sqrt(12)  # mean 0, variance 1

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {
            "numbers": self.numbers[index],
            "category": self.category[index],
            "labels": self.values[index, None],
        }


class Regressor(nn.Module):
    """A layer of learnt vectors for the category, and two layers for all.

    To change: `numbers`, `categories`, and `mean` and `scale` of what is learnt.
    """

    def __init__(
        self, numbers: int = 5, categories: int = 4, width: int = 64, mean: float = 0.0, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.of_category = nn.Embedding(categories, 8)
        self.layers = nn.Sequential(
            nn.Linear(numbers + 8, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )
        self.mean = mean
        self.scale = scale

    def forward(self, numbers: torch.Tensor, category: torch.Tensor) -> torch.Tensor:
        """Values (B, 1) of numbers (B, N) and categories (B,)."""
        row = torch.cat([numbers, self.of_category(category)], dim=1)
        values: torch.Tensor = self.mean + self.scale * self.layers(row)
        return values


class Error(BaseMetric):
    """The root of the mean squared error, next to that of the labels' mean as the only answer.

    To change: nothing, or a metric of torchmetrics such as MeanAbsoluteError.
    """

    directions: ClassVar[Mapping[str, Direction]] = {"error": "lower"}

    def _statistics(self, outputs: torch.Tensor, target: torch.Tensor, idx: Sequence[int]) -> torch.Tensor:
        expected = target.double()
        return torch.cat(
            [(outputs - expected).square(), torch.ones_like(expected), expected, expected.square()], dim=1
        )

    def _scores(self, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"error": (statistics[:, 0] / statistics[:, 1]).sqrt()}

    def baselines(
        self, buffer: Mapping[int, torch.Tensor] | None = None
    ) -> dict[str, dict[str, float | None]]:
        """See BaseMetric."""
        entries = self.get_buffer() if buffer is None else buffer
        _, mean, mean_of_squares = (torch.stack(list(entries.values()))[:, 1:].mean(dim=0)).tolist()
        return {"mean": {"error": math.sqrt(mean_of_squares - mean**2)}}


def _split(seed: int, count: int) -> dict[str, Any]:
    return {"class": Table, "args": {"seed": seed, "count": count}}


config = {
    "runner": {"class": SupervisedSingleTaskTrainer, "args": {"score": "error"}},
    "work_dir": "logs/examples/tabular",
    "epochs": 10,
    "seed": 1,
    "model": {"class": Regressor, "args": {"mean": 16.0, "scale": 6.0}},
    "criterion": {"class": nn.MSELoss, "args": {}},
    "metric": {"class": Error, "args": {}},
    "optimizer": {"class": torch.optim.AdamW, "args": {"lr": 0.01}},
    "scheduler": {"class": torch.optim.lr_scheduler.CosineAnnealingLR, "args": {"T_max": 10}},
    "train_dataset": _split(1, 2000),
    "train_dataloader": {"class": DataLoader, "args": {"batch_size": 64, "shuffle": True}},
    "val_dataset": _split(2, 500),
    "val_dataloader": {"class": DataLoader, "args": {"batch_size": 500}},
    "test_dataset": _split(3, 500),
    "test_dataloader": {"class": DataLoader, "args": {"batch_size": 500}},
}
