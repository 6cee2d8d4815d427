"""Image classification: digits drawn by code, at random places and sizes, in noise."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.data import Dataset

from pylon.data import DataLoader
from pylon.metrics import BaseMetric, Direction
from pylon.runners import SupervisedSingleTaskTrainer

# Each digit is seven rows of five pixels, a row as a number of five bits.
GLYPHS = (
    (14, 17, 19, 21, 25, 17, 14),
    (4, 12, 4, 4, 4, 4, 14),
    (14, 17, 1, 2, 4, 8, 31),
    (31, 2, 4, 2, 1, 17, 14),
    (2, 6, 10, 18, 31, 2, 2),
    (31, 16, 30, 1, 1, 17, 14),
    (6, 8, 16, 30, 17, 17, 14),
    (31, 1, 2, 4, 8, 8, 8),
    (14, 17, 17, 14, 17, 17, 14),
    (14, 17, 17, 15, 1, 2, 12),
)


class Digits(Dataset[tuple[torch.Tensor, int]]):
    """Images (1, 16, 16) and the digit in each.

    To change: list your files in `__init__`, read one in `__getitem__`, and return (image, class number).

    Args:
        first: the number of the first image; no image is in two splits.
        count: how many.
        noise: standard deviation of noise that is drawn at each access: augmentation.
    """

    def __init__(self, first: int, count: int, noise: float = 0.0) -> None:
        self.first = first
        self.count = count
        self.noise = noise

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        generator = torch.Generator().manual_seed(self.first + index)
        digit = (self.first + index) % 10
        glyph = torch.tensor([[row >> bit & 1 for bit in (4, 3, 2, 1, 0)] for row in GLYPHS[digit]])
        height, width = (int(torch.randint(low, low + 5, (), generator=generator)) for low in (8, 6))
        top = int(torch.randint(0, 17 - height, (), generator=generator))
        left = int(torch.randint(0, 17 - width, (), generator=generator))
        image = 0.4 * torch.randn(1, 16, 16, generator=generator)
        scaled = nn.functional.interpolate(glyph[None, None].float(), (height, width))
        image[:, top : top + height, left : left + width] += scaled[0]
        return image + self.noise * torch.randn(1, 16, 16), digit


class Classifier(nn.Module):
    """Two convolutions, and the maximum of each channel.

    To change: any model that gives logits (B, classes) for a batch of images.
    """

    def __init__(self, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.GroupNorm(4, width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 4 * width, 5, padding=2),
            nn.GroupNorm(4, 4 * width),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, classes),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, classes) of images (B, 1, H, W)."""
        logits: torch.Tensor = self.layers(image)
        return logits


class Accuracy(BaseMetric):
    """The share of right answers, next to that of the most frequent class.

    To change: nothing but `classes`, or a metric of torchmetrics such as MulticlassF1Score.
    """

    directions: ClassVar[Mapping[str, Direction]] = {"accuracy": "higher"}

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.classes = classes

    def _statistics(self, outputs: torch.Tensor, target: torch.Tensor, idx: Sequence[int]) -> torch.Tensor:
        right = outputs.argmax(dim=1) == target
        return torch.cat([right[:, None].long(), nn.functional.one_hot(target, self.classes)], dim=1)

    def _scores(self, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"accuracy": statistics[:, 0] / statistics[:, 1:].sum(dim=1)}

    def baselines(
        self, buffer: Mapping[int, torch.Tensor] | None = None
    ) -> dict[str, dict[str, float | None]]:
        """See BaseMetric."""
        entries = self.get_buffer() if buffer is None else buffer
        of_class = torch.stack(list(entries.values()))[:, 1:].sum(dim=0)
        return {"most_frequent": {"accuracy": float(of_class.max() / of_class.sum())}}


def _split(first: int, count: int, noise: float = 0.0) -> dict[str, Any]:
    return {"class": Digits, "args": {"first": first, "count": count, "noise": noise}}


config = {
    "runner": {"class": SupervisedSingleTaskTrainer, "args": {"score": "accuracy"}},
    "work_dir": "logs/examples/image_classification",
    "epochs": 5,
    "seed": 1,
    "model": {"class": Classifier, "args": {"width": 16}},
    "criterion": {"class": nn.CrossEntropyLoss, "args": {"label_smoothing": 0.05}},
    "metric": {"class": Accuracy, "args": {}},
    "optimizer": {"class": torch.optim.AdamW, "args": {"lr": 0.01}},
    "train_dataset": _split(0, 1600, noise=0.2),
    "train_dataloader": {"class": DataLoader, "args": {"batch_size": 32, "shuffle": True, "num_workers": 2}},
    "val_dataset": _split(10_000, 200),
    "val_dataloader": {"class": DataLoader, "args": {"batch_size": 100}},
    "test_dataset": _split(20_000, 200),
    "test_dataloader": {"class": DataLoader, "args": {"batch_size": 100}},
}
