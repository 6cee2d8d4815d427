"""Runs of seconds on data that are no images: rows, dicts, sequences of any length; all of torch's kind."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import (
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
)
from torchmetrics import MeanSquaredError

from pylon.data import DataLoader
from pylon.metrics import BaseMetric
from pylon.runners import Checkpointing, Stepping, SupervisedSingleTaskTrainer

__all__ = [
    "MSE",
    "Named",
    "Rows",
    "SizedStream",
    "Stream",
    "SupervisedSingleTaskTrainer",
    "any_config",
    "torch",
]


class Rows(Dataset[Any]):
    """Rows of three numbers with noise that is drawn at each access; the label is a sum.

    Args:
        count: of rows.
        form: 'tuple', 'dict' or 'sequence'.
        noise: its standard deviation.
    """

    def __init__(self, count: int, form: str = "tuple", noise: float = 0.1) -> None:
        self.rows = torch.rand(count, 3, generator=torch.Generator().manual_seed(count))
        self.form = form
        self.noise = noise
        self.rng = np.random.default_rng(1)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        row = self.rows[index] + self.noise * torch.randn(3) + self.noise * float(self.rng.normal())
        label = self.rows[index].sum(0, keepdim=True)
        if self.form == "dict":
            return {"first": row[:1].numpy(), "others": row[1:], "labels": label}
        if self.form == "sequence":
            return row[: 1 + index % 3], label
        return row, label


class Named(Rows):
    """Rows that are called something."""

    def __getitem__(self, index: int) -> Any:
        row, label = super().__getitem__(index)
        return {"inputs": row, "labels": label, "meta_info": {"name": f"row_{index}"}}


class Stream(IterableDataset[Any]):
    """The same as a stream: in an order that is shuffled when it is opened, shared out to workers.

    Args:
        count: of rows.
        noise: its standard deviation.
        shared: each worker gives a part, not all.
    """

    def __init__(self, count: int, noise: float = 0.1, *, shared: bool = True) -> None:
        self.rows = Rows(count, noise=noise)
        self.shared = shared

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(len(self.rows)).tolist()
        worker = get_worker_info()
        if worker is not None and self.shared:
            order = order[worker.id :: worker.num_workers]
        yield from (self.rows[index] for index in order)


class SizedStream(Stream):
    """One that has a length."""

    def __len__(self) -> int:
        return len(self.rows)


def tensor_rows(count: int) -> Subset[Any]:
    """What torch's own datasets give, made by a function."""
    rows = torch.rand(2 * count, 3, generator=torch.Generator().manual_seed(count))
    return Subset(TensorDataset(rows, rows.sum(1, keepdim=True)), range(0, 2 * count, 2))


def padded(datapoints: Any) -> Any:
    """Own batches: sequences of any length, filled up with zeros."""
    rows = nn.utils.rnn.pad_sequence([row for row, _ in datapoints], batch_first=True)
    return nn.functional.pad(rows, (0, 3 - rows.shape[1])), torch.stack([label for _, label in datapoints])


def first_rows(dataset: Any) -> WeightedRandomSampler:
    """A sampler that needs the dataset."""
    return WeightedRandomSampler([1.0 / (1 + index) for index in range(len(dataset))], num_samples=10)


class Linear(nn.Module):
    """Takes a row, or its parts by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.1), nn.Linear(4, 1))

    def forward(self, row: torch.Tensor | None = None, first: Any = None, others: Any = None) -> torch.Tensor:
        whole = torch.cat([first, others], dim=1) if row is None else row
        outputs: torch.Tensor = self.layers(whole)
        return outputs


class Steady(nn.Linear):
    """Without dropout: the same on any number of ranks."""

    def __init__(self) -> None:
        super().__init__(3, 1)


class SquaredError(nn.MSELoss):
    """Sends a signal to this process in one of its calls, counted from 1; 0: never."""

    def __init__(self, at_call: int = 0) -> None:
        super().__init__()
        self.calls, self.at_call = 0, at_call

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.at_call:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().forward(input, target)


class Error(BaseMetric):
    """The mean squared error."""

    directions = {"error": "lower"}  # type: ignore[assignment]  # noqa: RUF012

    def _statistics(self, outputs: Any, target: Any, idx: Any) -> torch.Tensor:
        return torch.stack([(outputs - target).square().mean(1), torch.ones(len(target))], dim=1).double()

    def _scores(self, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"error": statistics[:, 0] / statistics[:, 1]}


MSE = {"class": MeanSquaredError, "args": {}}

LOADERS: dict[str, dict[str, Any]] = {
    "tuple": {"batch_size": 4, "shuffle": True},
    "dict": {"batch_size": 4, "shuffle": True},
    "sequence": {"batch_size": 4, "shuffle": True, "collate_fn": padded},
    "sampler": {"batch_size": 4, "sampler": first_rows},
    "function": {"batch_size": 4, "shuffle": True},
    "stream": {"batch_size": 4},
}


def any_config(
    work_dir: str | Path, kind: str, *, num_workers: int = 0, at_call: int = 0, **changes: Any
) -> dict[str, Any]:
    """A configuration of 3 epochs of 3 steps."""

    def dataset(count: int) -> dict[str, Any]:
        if kind == "function":
            return {"class": tensor_rows, "args": {"count": count}}
        if kind == "stream":
            return {"class": Stream, "args": {"count": count}}
        form = kind if kind in {"dict", "sequence"} else "tuple"
        return {"class": Rows, "args": {"count": count, "form": form}}

    kept = {"collate_fn": padded} if kind == "sequence" else {}
    evaluated = {"class": DataLoader, "args": {"batch_size": 4, "num_workers": num_workers, **kept}}
    return {
        "runner": {
            "class": SupervisedSingleTaskTrainer,
            "args": {
                "score": changes.pop("score", "error"),
                "rehearsal": changes.pop("rehearsal", True),
                "tile_size": changes.pop("tile_size", None),
                "checkpointing": {"class": Checkpointing, "args": {"every_steps": 1}},
                "stepping": {"class": Stepping, "args": changes.pop("stepping", {})},
            },
        },
        "work_dir": str(work_dir),
        "epochs": 3,
        "monitor": None,
        "seed": 4,
        "model": {"class": Linear, "args": {}},
        "criterion": {"class": SquaredError, "args": {"at_call": at_call}},
        "metric": {"class": Error, "args": {}},
        "optimizer": {"class": torch.optim.SGD, "args": {"lr": 0.1, "momentum": 0.9}},
        "train_dataset": dataset(10),
        "train_dataloader": {"class": DataLoader, "args": {**LOADERS[kind], "num_workers": num_workers}},
        "val_dataset": dataset(5),
        "val_dataloader": evaluated,
        "test_dataset": dataset(6),
        "test_dataloader": evaluated,
        **changes,
    }
