"""The training that `tests.shutdown.resume` kills: seconds long, and random wherever a training can be."""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from pylon.data import BaseDataset, DataLoader
from pylon.data.transforms import ColorJitter, Compose, RandomCrop, RandomFlip, RandomRot90
from pylon.metrics import SemanticSegmentationMetric
from pylon.runners import Checkpointing, SupervisedSingleTaskTrainer


class NoisyPairs(BaseDataset):
    """Random image pairs, with noise from the global generators as a careless user's dataset draws it."""

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    INPUT_NAMES: ClassVar[tuple[str, ...]] = ("img_1", "img_2")
    LABEL_NAMES: ClassVar[tuple[str, ...]] = ("change_map",)
    CLASS_NAMES: ClassVar[tuple[str, ...]] = ("unchanged", "changed")

    def _list_datapoints(self) -> Sequence[Any]:
        return list(range(38 if self.split == "train" else 7))

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        generator = torch.Generator().manual_seed(1000 * self.SPLITS.index(self.split) + annotation)
        first, second = torch.rand(2, 3, 12, 12, generator=generator)
        change = (second.mean(0) > first.mean(0) + 0.1).long()
        second = (second + 0.01 * random.random() + 0.01 * float(np.random.rand())).clamp(0, 1)
        inputs = {"img_1": first, "img_2": second}
        return inputs, {"change_map": change}, {"name": f"{self.split}-{annotation}"}


class NoisyModel(nn.Module):
    """Dropout and batch normalisation, and in training numbers of all three generators."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(6, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Conv2d(8, 2, 1),
        )

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        images = torch.cat([img_1, img_2], dim=1)
        if self.training:
            time.sleep(0.01)  # so that a kill meets a step, and not only what is between them
            images = images * (1 + 0.1 * random.random()) + 0.1 * float(np.random.rand())
        logits: torch.Tensor = self.layers(images)
        return logits


class CountingCriterion(nn.Module):
    """Cross-entropy with a weight that depends on its own state."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        # Not its own mean, which has no deterministic kernel for images on CUDA.
        losses = nn.functional.cross_entropy(logits, target, reduction="none")
        return losses.mean() * (1 + 0.01 * self.seen.sin().squeeze())


def resume_config(
    work_dir: str | Path, *, asynchronous_checkpoints: bool = False, **changes: Any
) -> dict[str, Any]:
    """A configuration of 4 epochs of 10 steps; `changes` are arguments of the runner."""
    saving = {"every_steps": 3, "asynchronous": asynchronous_checkpoints}
    augment = [
        {"class": RandomCrop, "args": {"size": 8}},
        {"class": RandomRot90, "args": {}},
        {"class": RandomFlip, "args": {}},
        {
            "class": ColorJitter,
            "args": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "probability": 0.8},
        },
    ]

    def dataset(split: str, transforms: list[dict[str, Any]]) -> dict[str, Any]:
        compose = {"class": Compose, "args": {"transforms": transforms}}
        return {"class": NoisyPairs, "args": {"data_root": ".", "split": split, "transforms": compose}}

    def loader(**args: Any) -> dict[str, Any]:
        return {"class": DataLoader, "args": {"batch_size": 4, **args}}

    runner: dict[str, Any] = {"score": "f1_changed", "log_every_steps": 3, "predictions": 2}
    runner["checkpointing"] = {"class": Checkpointing, "args": saving}
    return {
        "runner": {"class": SupervisedSingleTaskTrainer, "args": {**runner, **changes}},
        "work_dir": str(work_dir),
        "epochs": 4,
        "seed": 11,
        "model": {"class": NoisyModel, "args": {}},
        "criterion": {"class": CountingCriterion, "args": {}},
        "metric": {
            "class": SemanticSegmentationMetric,
            "args": {"num_classes": 2, "class_names": ["unchanged", "changed"]},
        },
        "optimizer": {"class": torch.optim.AdamW, "args": {"lr": 0.01}},
        "scheduler": {"class": torch.optim.lr_scheduler.StepLR, "args": {"step_size": 2, "gamma": 0.5}},
        "train_dataset": dataset("train", augment),
        "train_dataloader": loader(shuffle=True, num_workers=2),
        "val_dataset": dataset("val", [{"class": RandomFlip, "args": {}}]),
        "val_dataloader": loader(num_workers=1),
        "test_dataset": dataset("test", [{"class": RandomFlip, "args": {}}]),
        "test_dataloader": loader(),
        "monitor": None,
    }
