"""A training without dropout: what it computes does not depend on which rank takes which batch."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pylon.data import DataLoader
from pylon.data.errors import DatasetDamagedError, LoaderWorkerError
from pylon.metrics import SemanticSegmentationMetric
from pylon.runners import (
    Checkpointing,
    Stepping,
    SupervisedSingleTaskEvaluator,
    SupervisedSingleTaskTrainer,
)
from tests.runners.toy import ToyDataset, ToyModel, toy_config

__all__ = [
    "DataLoader",
    "Lazy",
    "Learnt",
    "Partial",
    "Steady",
    "Stepping",
    "SupervisedSingleTaskEvaluator",
    "SupervisedSingleTaskTrainer",
    "config_of_rank",
    "crossed_config",
    "damaged_config",
    "evaluation_of",
    "nn",
    "noted_monitor",
    "random_config",
    "slow_validation",
    "staged_config",
    "steady_config",
    "torch",
]


class Acting(nn.Module):
    """A criterion that does something at one of its calls.

    Args:
        act: what, on which rank, at which call, counted from 1: 'SIGKILL 1 5'. A signal, 'raise', 'sleep',
            'lost', or 'nan'.
        pause_s: how long each call takes, so that a test can meet it.
    """

    def __init__(self, act: str = "", pause_s: float = 0.0) -> None:
        super().__init__()
        self.pause_s = pause_s
        self.act, self.calls = act, 0

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(logits, target)
        time.sleep(self.pause_s)
        self.calls += 1
        what, rank, call = self.act.split() if self.act else ("", "", "0")
        # What torchrun has started again does not do it again.
        is_first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        if os.environ.get("RANK", "0") != rank or self.calls != int(call) or not is_first:
            return loss
        if what == "raise":
            raise KeyError("a bug of the user's")
        if what == "lost":
            raise LoaderWorkerError("a batch could not be received (Connection reset by peer)")
        if what == "sleep":
            time.sleep(1000)
        if what == "nan":
            return loss * float("nan")
        os.kill(os.getpid(), signal.Signals[what])
        return loss


class Learnt(nn.Module):
    """A criterion with a temperature to learn, that begins with other numbers on each rank."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.tensor(0.1 * int(os.environ.get("RANK", "0"))))
        self.unused = nn.Parameter(torch.ones(2))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(logits, target)
        return loss * torch.exp(-self.log_variance) + 0.5 * self.log_variance


class LargerDataset(ToyDataset):
    """As many datapoints as a test asks for; one of them may be damaged."""

    count = 22
    damaged: tuple[str, int] | None = None

    def _list_datapoints(self) -> list[int]:
        return list(range(self.count if self.split == "train" else 9))

    def _load_datapoint(self, annotation: Any) -> Any:
        if (self.split, annotation) == self.damaged:
            raise DatasetDamagedError(f"{annotation} is damaged")
        return super()._load_datapoint(annotation)


class DamagedDataset(LargerDataset):
    damaged = ("val", 5)


class Steady(nn.Module):
    """Two convolutions; `norm` puts batch normalisation between them."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        middle = [nn.BatchNorm2d(4)] if norm else []
        self.layers = nn.Sequential(nn.Conv2d(6, 4, 1), *middle, nn.Tanh(), nn.Conv2d(4, 2, 1))

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(torch.cat([img_1, img_2], dim=1))
        return logits


def steady_config(work_dir: str | Path, **changes: Any) -> dict[str, Any]:
    """The toy configuration with this model and 6 batches an epoch of which the last is short."""
    own: dict[str, Any] = {
        "model": {"class": Steady, "args": {}},
        "optimizer": {"class": torch.optim.SGD, "args": {"lr": 1.0, "momentum": 0.9}},
    }
    config = toy_config(work_dir, **{**own, **changes})
    for split in ("train", "val", "test"):
        config[f"{split}_dataset"]["class"] = LargerDataset
    return config


class Lazy(nn.Module):
    """The same with lazy layers, whose first weights differ from rank to rank."""

    def __init__(self) -> None:
        super().__init__()
        torch.rand(int(os.environ.get("RANK", "0")))
        self.layers = nn.Sequential(nn.LazyConv2d(4, 1), nn.Tanh(), nn.LazyConv2d(2, 1))

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(torch.cat([img_1, img_2], dim=1))
        return logits


class Partial(nn.Module):
    """Has parameters that are used on some ranks only.

    Args:
        ranks: on which.
    """

    def __init__(self, ranks: list[int]) -> None:
        super().__init__()
        self.always, self.sometimes = nn.Conv2d(6, 2, 1), nn.Conv2d(6, 2, 1)
        self._used = int(os.environ["RANK"]) in ranks

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        images = torch.cat([img_1, img_2], dim=1)
        logits: torch.Tensor = self.always(images)
        return logits + self.sometimes(images) if self._used else logits


class Crossed(nn.Module):
    """Layers that are used in another order than they are made in."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.last = nn.Conv2d(width, 2, 1)
        self.first = nn.Conv2d(6, width, 3, padding=1)
        self.middle = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        first = torch.tanh(self.first(torch.cat([img_1, img_2], dim=1)))
        logits: torch.Tensor = self.last(torch.tanh(self.middle(first)))
        return logits


def crossed_config(work_dir: str | Path, act: str = "") -> dict[str, Any]:
    """The random training with another model."""
    return random_config(work_dir, act) | {"model": {"class": Crossed, "args": {}}}


def random_config(
    work_dir: str | Path, act: str = "", pause_s: float = 0.0, **changes: Any
) -> dict[str, Any]:
    """The same with dropout, batch normalisation and a loader worker, saved at each step.

    Args:
        work_dir: of the run.
        act, pause_s: see Acting.
        **changes: of the configuration.
    """
    config = steady_config(work_dir, model={"class": ToyModel, "args": {}}, **changes)
    config["runner"]["args"] |= {"checkpointing": {"class": Checkpointing, "args": {"every_steps": 1}}}
    config["criterion"] = {"class": Acting, "args": {"act": act, "pause_s": pause_s}}
    config["train_dataloader"]["args"] |= {"num_workers": 1}
    return config


class SlowMetric(SemanticSegmentationMetric):
    """A validation of many seconds, which says that it has begun."""

    def __init__(self, folder: str, **args: Any) -> None:
        super().__init__(**args)
        self._folder = Path(folder)

    def update(self, *args: Any) -> None:
        super().update(*args)
        (self._folder / "validating").touch()
        time.sleep(1.0)


def slow_validation(work_dir: str | Path) -> dict[str, Any]:
    """The random training with a slow validation."""
    config = random_config(work_dir)
    config["metric"]["class"] = SlowMetric
    config["runner"]["args"]["rehearsal"] = False  # it would be taken for the validation
    config["metric"]["args"]["folder"] = str(Path(work_dir).parent)
    config["val_dataloader"]["args"]["batch_size"] = 1
    return config


class NotedMonitor:
    """A monitor that leaves a file where it was started."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def start(self) -> None:
        (self._folder / f"monitor_of_rank_{os.environ['RANK']}").touch()

    def stop(self) -> None: ...

    def latest(self) -> Any:
        return _NoFigures()


def noted_monitor(folder: str) -> dict[str, Any]:
    return {"class": NotedMonitor, "args": {"folder": folder}}


class _NoFigures:
    sequence = 0

    def as_record(self) -> dict[str, Any]:
        return {"of": f"rank {os.environ['RANK']}"}


def damaged_config(work_dir: str | Path) -> dict[str, Any]:
    """A datapoint of the validation that the second rank takes cannot be read."""
    config = steady_config(work_dir)
    config["val_dataset"]["class"] = DamagedDataset
    return config


def config_of_rank(work_dir: str | Path) -> dict[str, Any]:
    """Another configuration on each rank."""
    return steady_config(work_dir, epochs=1 + int(os.environ["RANK"]))


def evaluation_of(work_dir: str | Path, checkpoint: str | Path) -> dict[str, Any]:
    """A configuration that evaluates a checkpoint of this model."""
    config = steady_config(work_dir)
    args = {"score": "f1_changed", "checkpoint": str(checkpoint)}
    kept = ("work_dir", "seed", "model", "metric", "test_dataset", "test_dataloader", "monitor")
    return {
        "runner": {"class": SupervisedSingleTaskEvaluator, "args": args},
        **{key: config[key] for key in kept},
    }


def staged_config(work_dir: str | Path) -> dict[str, Any]:
    """Training, more training from its best weights, and their test."""
    first = random_config("unused")
    second = random_config("unused")
    second["runner"]["args"]["initial_checkpoint"] = "stage:first"
    tested = evaluation_of("unused", "stage:second") | {"model": second["model"]}
    return {"work_dir": str(work_dir), "stages": {"first": first, "second": second, "tested": tested}}
