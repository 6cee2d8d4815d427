"""All classes of a project in one file: dataset, model, criterion, metric and trainer. Discs in noise."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from pylon.data import BaseDataset, DataLoader
from pylon.metrics import BaseMetric, Direction
from pylon.runners import Batch, RunContext, SupervisedSingleTask, SupervisedSingleTaskTrainer, Task


class Discs(BaseDataset):
    """Noise with a bright disc in it; the mask marks it.

    To change: list your files in `_list_datapoints`, and read one in `_load_datapoint`.
    """

    SPLITS = ("train", "val", "test")
    INPUT_NAMES = ("image",)
    LABEL_NAMES = ("mask",)

    def _list_datapoints(self) -> Sequence[int]:
        first = 1000 * self.SPLITS.index(self.split)
        return range(first, first + (32 if self.split == "train" else 8))

    def _load_datapoint(self, annotation: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        generator = torch.Generator().manual_seed(annotation)
        row, column = torch.randint(5, 19, (2,), generator=generator).tolist()
        rows, columns = torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij")
        mask = ((rows - row) ** 2 + (columns - column) ** 2 < 25).long()
        image = 2 * mask + torch.randn(1, 24, 24, generator=generator)
        return {"image": image}, {"mask": mask}, {"centre": (row, column)}


class DiscFinder(nn.Module):
    """Two convolutions; its inputs are named as the dataset's.

    To change: any model whose `forward` has the dataset's input names as parameters.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 5, padding=2), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(width, 2, 5, padding=2)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2, H, W) of images (B, 1, H, W)."""
        logits: torch.Tensor = self.layers(image)
        return logits


class SmoothCrossEntropy(nn.Module):
    """Cross-entropy that never asks for full certainty.

    To change: any loss of (outputs, labels), or a class of torch.
    """

    def __init__(self, smoothing: float) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A scalar, from logits (B, 2, H, W) and labels (B, H, W)."""
        return nn.functional.cross_entropy(logits, target, label_smoothing=self.smoothing)


class WrongPixels(BaseMetric):
    """The share of wrong pixels. What is kept of a datapoint is counts: they add up over datapoints.

    To change: what is counted, and the scores that follow from the sums. `directions` names each score.
    """

    directions: ClassVar[Mapping[str, Direction]] = {"wrong": "lower"}

    def _statistics(self, outputs: torch.Tensor, target: torch.Tensor, idx: Sequence[int]) -> torch.Tensor:
        wrong = (outputs.argmax(dim=1) != target).sum(dim=(1, 2))
        return torch.stack([wrong, torch.full_like(wrong, target[0].numel())], dim=1)

    def _scores(self, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"wrong": statistics[:, 0] / statistics[:, 1]}


class MirrorTask(SupervisedSingleTask):
    """Also asks for the same answer on the mirrored image.

    To change: the loss of a batch; a method that you remove is that of SupervisedSingleTask.
    """

    weight = 0.0

    def training_loss(self, batch: Batch) -> torch.Tensor:
        """The criterion's loss, and the difference between both answers."""
        image = self.inputs(batch)["image"]
        logits, mirrored = self.model(image), self.model(image.flip(-1)).flip(-1)
        difference: torch.Tensor = logits - mirrored
        return self.loss(logits, batch) + self.weight * difference.square().mean()


class MirrorTrainer(SupervisedSingleTaskTrainer):
    """Trains with a MirrorTask; everything else is the trainer's.

    To change: its own arguments. Without a task of your own use SupervisedSingleTaskTrainer.
    """

    def __init__(self, context: RunContext, *, mirror_weight: float, **others: Any) -> None:
        super().__init__(context, **others)
        self.mirror_weight = mirror_weight

    def make_task(self, model: nn.Module, criterion: nn.Module) -> Task:
        """See BaseTrainer."""
        task = MirrorTask(
            model, criterion, self.context.device, tile_size=self.tile_size, tile_overlap=self.tile_overlap
        )
        task.weight = self.mirror_weight
        return task


def _dataset(split: str) -> dict[str, Any]:
    return {"class": Discs, "args": {"data_root": "", "split": split}}


config = {
    "runner": {"class": MirrorTrainer, "args": {"score": "wrong", "mirror_weight": 0.1}},
    "work_dir": "logs/examples/own_classes",
    "epochs": 6,
    "seed": 1,
    "model": {"class": DiscFinder, "args": {"width": 8}},
    "criterion": {"class": SmoothCrossEntropy, "args": {"smoothing": 0.05}},
    "metric": {"class": WrongPixels, "args": {}},
    "optimizer": {"class": torch.optim.AdamW, "args": {"lr": 0.01}},
    "train_dataset": _dataset("train"),
    "train_dataloader": {"class": DataLoader, "args": {"batch_size": 4, "shuffle": True, "num_workers": 2}},
    "val_dataset": _dataset("val"),
    "val_dataloader": {"class": DataLoader, "args": {"batch_size": 8}},
    "test_dataset": _dataset("test"),
    "test_dataloader": {"class": DataLoader, "args": {"batch_size": 8}},
}
