"""The runs of the check, as configuration files call for them. Each needs no files, and seconds."""

from typing import Any

import torch
from torch import nn

from benchmarks.training.workloads import SmallPairs
from pylon.configs.benchmarks.change_detection.demo.HANet_run_0 import config as demo
from pylon.data import DataLoader
from pylon.models import HANet
from pylon.monitor import SystemMonitor
from pylon.runners import Checkpointing, Stepping

Node = dict[str, Any]

DEMO_WIDTH, FULL_WIDTH = 10, 40


def hanet(
    work_dir: str,
    *,
    width: int,
    steps: int,
    epochs: int = 1,
    size: int = 64,
    pairs: int = 4,
    watched: bool = True,
    **stepping: Any,
) -> Node:
    """HANet as the demo trains it, on random pairs: every step logged, saved every fifth.

    Args:
        work_dir: of the run.
        width: of the model.
        steps: of an epoch.
        epochs: of the run.
        size: of the images, pixels.
        pairs: in a batch.
        watched: with a monitor.
        stepping: arguments of Stepping.
    """

    def pairs_of(split: str, count: int) -> Node:
        return {
            "class": SmallPairs,
            "args": {"data_root": ".", "split": split, "count": count, "size": size},
        }

    runner = {
        **demo["runner"]["args"], "log_every_steps": 1, "tile_size": None, "tile_overlap": 0,
        "checkpointing": {"class": Checkpointing, "args": {"every_steps": 5}},
        "stepping": {"class": Stepping, "args": stepping},
    }  # fmt: skip
    return {
        **{key: demo[key] for key in ("seed", "criterion", "metric")},
        "runner": {"class": demo["runner"]["class"], "args": runner},
        "work_dir": work_dir,
        "epochs": epochs,
        "model": {"class": HANet, "args": {"width": width}},
        "optimizer": {"class": torch.optim.AdamW, "args": {"lr": 5e-4}},
        "train_dataset": pairs_of("train", steps * pairs),
        "val_dataset": pairs_of("val", 2),
        "train_dataloader": {"class": DataLoader, "args": {"batch_size": pairs, "shuffle": True}},
        "val_dataloader": {"class": DataLoader, "args": {"batch_size": 1}},
        "monitor": {"class": SystemMonitor, "args": {"interval_s": 0.5}} if watched else None,
    }


class GreedyModel(nn.Module):
    """Needs more memory than there is, from its second training step on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(6, 2, 1)
        self._steps = 0

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        """Logits."""
        logits: torch.Tensor = self.layer(torch.cat([img_1, img_2], dim=1))
        self._steps += self.training
        if self._steps > 1:
            logits = logits + torch.empty(2**50, dtype=torch.uint8, device=logits.device)[0]
        return logits


def greedy(work_dir: str) -> Node:
    """A run that uses up the memory of its device in its first epoch."""
    return {**hanet(work_dir, width=2, steps=8, size=16), "model": {"class": GreedyModel, "args": {}}}
