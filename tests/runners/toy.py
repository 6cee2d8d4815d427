"""A run of seconds: random 8 x 8 image pairs, a one-layer model, everything else as in a real run."""

import multiprocessing
import os
import random
import shutil
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from pylon.data import BaseDataset, DataLoader
from pylon.data.transforms import Compose, RandomFlip
from pylon.metrics import SemanticSegmentationMetric
from pylon.monitor import SystemMonitor  # noqa: F401 - for `import *`
from pylon.runners import Checkpointing, EarlyStopping, SupervisedSingleTaskTrainer  # noqa: F401 - for `import *`


class ToyDataset(BaseDataset):
    """Pairs whose label is where the second image is brighter."""

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    INPUT_NAMES: ClassVar[tuple[str, ...]] = ("img_1", "img_2")
    LABEL_NAMES: ClassVar[tuple[str, ...]] = ("change_map",)
    CLASS_NAMES: ClassVar[tuple[str, ...]] = ("unchanged", "changed")

    def _list_datapoints(self) -> Sequence[Any]:
        return list(range(12 if self.split == "train" else 5))

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        generator = torch.Generator().manual_seed(1000 * self.SPLITS.index(self.split) + annotation)
        first, second = torch.rand(2, 3, 8, 8, generator=generator)
        change = (second.mean(0) > first.mean(0) + 0.1).long()
        return (
            {"img_1": first, "img_2": second},
            {"change_map": change},
            {"name": f"{self.split}-{annotation}"},
        )


class EmptyDataset(ToyDataset):
    """Finds nothing."""

    def _list_datapoints(self) -> Sequence[Any]:
        return []


class ToyModel(nn.Module):
    """One convolution over both dates, with dropout so that training is random."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(6, channels, 1),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, 2, 1),
        )

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(torch.cat([img_1, img_2], dim=1))
        return logits


class ToyCriterion(nn.Module):
    """Cross-entropy that can misbehave at one call: `at_call` counts from 1, 0 is never.

    `what` is 'nan', 'raise', 'fill memory', or as in `hurt`.
    """

    def __init__(self, at_call: int = 0, what: str = "nan") -> None:
        super().__init__()
        self.calls, self.at_call, self.what = 0, at_call, what

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        loss = nn.functional.cross_entropy(logits, target)
        if self.calls != self.at_call:
            return loss
        if self.what == "nan":
            return loss * float("nan")
        if self.what == "raise":
            raise RuntimeError("the criterion broke")
        if self.what == "fill memory":
            kept = []
            while True:
                kept.append(b"x" * (1 << 24))
        hurt(self.what)
        return loss


class CountingCriterion(ToyCriterion):
    """Its state holds an array of NumPy."""

    def get_extra_state(self) -> dict[str, Any]:
        return {"counts": [np.arange(2)]}

    def set_extra_state(self, state: dict[str, Any]) -> None: ...


class NumPyCosine(LRScheduler):
    """Its learning rates are NumPy's numbers."""

    def get_lr(self) -> list[Any]:
        return [rate * 0.5 * (1 + np.cos(np.pi * self.last_epoch / 3)) for rate in self.base_lrs]


class NumPyMetric(SemanticSegmentationMetric):
    """Its aggregated scores are NumPy's numbers."""

    def summarize(self) -> Any:
        summary = super().summarize()
        scores = {
            name: np.float32(value) if isinstance(value, float) else value
            for name, value in summary["aggregated"].items()
        }
        return {**summary, "aggregated": scores}


def hurt(what: str) -> None:
    """Send signals, in order: 'SIGTERM' to this process, 'worker:SIGKILL' to a loader worker of it.

    'later:SIGTERM' comes a while after, when training has long come to wait.
    """
    for word in what.split():
        whom, _, name = word.rpartition(":")
        number = signal.Signals[name]
        if whom == "worker":
            os.kill(random.SystemRandom().choice(multiprocessing.active_children()).pid or 0, number)
        elif whom == "later":
            timer = threading.Timer(2.0, os.kill, [os.getpid(), number])
            timer.daemon = True
            timer.start()
        else:
            os.kill(os.getpid(), number)


class HurtingMetric(SemanticSegmentationMetric):
    """Hurts the run in one of its updates: `at_update` counts from 1 over the whole launch.

    It draws random numbers too, as a user's metric may: the generators move on in validation.
    """

    def __init__(self, at_update: int, what: str, **options: Any) -> None:
        super().__init__(**options)
        self.updates, self.at_update, self.what = 0, at_update, what

    def update(self, outputs: torch.Tensor, target: torch.Tensor, idx: Sequence[int]) -> None:
        super().update(outputs, target, idx)
        torch.rand(1)
        self.updates += 1
        if self.updates == self.at_update:
            hurt(self.what)


class RemovingCriterion(ToyCriterion):
    """At one call it puts a file in place of `folder`, and two calls later sends the signal `then`."""

    def __init__(self, at_call: int, folder: str, then: str = "") -> None:
        super().__init__(at_call + 2 if then else 0, then)
        self.remove_at, self.folder = at_call, Path(folder)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.calls + 1 == self.remove_at:
            shutil.rmtree(self.folder)
            self.folder.write_text("in the way")
        return super().forward(logits, target)


class UnstartableMonitor:
    """A monitor on a machine that has no room for one more process."""

    def start(self) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    def stop(self) -> None: ...


def toy_config(work_dir: Path, **changes: Any) -> dict[str, Any]:
    """A configuration of 3 epochs of 3 steps; `changes` replace its top-level entries."""

    def dataset(split: str) -> dict[str, Any]:
        transforms = {"class": Compose, "args": {"transforms": [{"class": RandomFlip, "args": {}}]}}
        return {"class": ToyDataset, "args": {"data_root": ".", "split": split, "transforms": transforms}}

    def loader(**args: Any) -> dict[str, Any]:
        return {"class": DataLoader, "args": {"batch_size": 4, **args}}

    return {
        "runner": {
            "class": SupervisedSingleTaskTrainer,
            "args": {"score": "f1_changed", "log_every_steps": 2},
        },
        "work_dir": str(work_dir),
        "epochs": 3,
        "seed": 5,
        "model": {"class": ToyModel, "args": {}},
        "criterion": {"class": ToyCriterion, "args": {}},
        "metric": {
            "class": SemanticSegmentationMetric,
            "args": {"num_classes": 2, "class_names": ["unchanged", "changed"]},
        },
        "optimizer": {"class": torch.optim.SGD, "args": {"lr": 0.1, "momentum": 0.9}},
        "scheduler": {"class": torch.optim.lr_scheduler.StepLR, "args": {"step_size": 1, "gamma": 0.5}},
        "train_dataset": dataset("train"),
        "train_dataloader": loader(shuffle=True),
        "val_dataset": dataset("val"),
        "val_dataloader": loader(),
        "test_dataset": dataset("test"),
        "test_dataloader": loader(),
        "monitor": None,
        **changes,
    }


def factor_as_a_tensor(epoch: int) -> torch.Tensor:
    """Of the learning rate, as a function of a user may compute it."""
    return 0.5 * (1 + torch.cos(torch.tensor(epoch / 10)))
