"""What every change-detection run shares: criterion, metric, optimizer, schedule, runner, monitor."""

from collections.abc import Sequence
from typing import Any

import torch

from pylon.criteria import FocalDiceLoss
from pylon.metrics import SemanticSegmentationMetric
from pylon.monitor import SystemMonitor
from pylon.runners import SupervisedSingleTaskTrainer

Node = dict[str, Any]

# Inverse class frequencies of the AirChange training crops: 4.75 % of the pixels are changed.
AIR_CHANGE_WEIGHTS = (0.0963, 1.9037)


def change_detection(
    work_dir: str,
    seed: int,
    model: Node,
    data: Node,
    *,
    epochs: int = 100,
    learning_rate: float = 5e-4,
    class_weights: Sequence[float] | None = None,
    tile_size: int | None = None,
    tile_overlap: int = 0,
) -> Node:
    """A complete run: focal and Dice loss, AdamW, rate halved every eighth part of the epochs.

    Optimizer, rate and weight decay are those of HANet's published training (Han et al. 2023:
    5e-4 both; the paper's Adam as its authors' code has it, AdamW); its rate halves every 8 of 50
    to 100 epochs.

    Args:
        work_dir: directory of the run.
        seed: all seeds follow from it.
        model: {'class', 'args'} of the model.
        data: datasets and loaders.
        epochs: passes over the training data.
        learning_rate: at the start.
        class_weights: of the focal loss, per class; None: equal.
        tile_size, tile_overlap: validate and test on tiles, see SupervisedSingleTaskTrainer.
    """
    return {
        "runner": {
            "class": SupervisedSingleTaskTrainer,
            "args": {"score": "f1_changed", "tile_size": tile_size, "tile_overlap": tile_overlap},
        },
        "work_dir": work_dir,
        "epochs": epochs,
        "seed": seed,
        "model": model,
        "criterion": {"class": FocalDiceLoss, "args": {"class_weights": class_weights, "gamma": 0.5}},
        "metric": {
            "class": SemanticSegmentationMetric,
            "args": {"num_classes": 2, "class_names": ["unchanged", "changed"]},
        },
        "optimizer": {
            "class": torch.optim.AdamW,
            "args": {"lr": learning_rate, "weight_decay": 5e-4},
        },
        "scheduler": {
            "class": torch.optim.lr_scheduler.StepLR,
            "args": {"step_size": max(1, epochs // 8), "gamma": 0.5},
        },
        "monitor": {"class": SystemMonitor, "args": {"interval_s": 1.0}},
        **data,
    }
