"""What `tests.shutdown.resume` kills, by name: two trainings made for it, and each example in short."""

import importlib
from pathlib import Path
from typing import Any

from pylon.runners import Checkpointing
from pylon.runners.launch.new import KINDS
from tests.runners.any_data import any_config
from tests.shutdown.resume_run import resume_config


def subject_config(
    name: str, work_dir: str | Path, *, asynchronous_checkpoints: bool = False, **changes: Any
) -> dict[str, Any]:
    """The configuration of a subject; `changes` are arguments of the runner."""
    if name == "segmentation":
        return resume_config(work_dir, asynchronous_checkpoints=asynchronous_checkpoints, **changes)
    if name == "stream":
        return stream_config(work_dir, asynchronous_checkpoints=asynchronous_checkpoints, **changes)
    config = importlib.import_module(f"pylon.configs.examples.{KINDS[name]}").config
    saving = {"every_steps": 3, "asynchronous": asynchronous_checkpoints}
    added = {"log_every_steps": 3, "checkpointing": {"class": Checkpointing, "args": saving}, **changes}

    dataset: dict[str, Any] = config["train_dataset"]
    ten_batches = 10 * config["train_dataloader"]["args"]["batch_size"]
    shortened = {"count": ten_batches} if "count" in dataset["args"] else {}

    def with_workers(split: str, count: int) -> dict[str, Any]:
        loader: dict[str, Any] = config[f"{split}_dataloader"]
        return {**loader, "args": {**loader["args"], "num_workers": count}}

    return {
        **config,
        "runner": {**config["runner"], "args": {**config["runner"]["args"], **added}},
        "work_dir": str(work_dir),
        "epochs": 2,
        "train_dataset": {**dataset, "args": {**dataset["args"], **shortened}},
        "train_dataloader": with_workers("train", 2),
        "val_dataloader": with_workers("val", 1),
    }


def stream_config(
    work_dir: str | Path, *, asynchronous_checkpoints: bool = False, **changes: Any
) -> dict[str, Any]:
    """Rows of an IterableDataset that is shuffled at each epoch and shared out by two workers."""
    config = any_config(work_dir, "stream", num_workers=2)
    saving = {"every_steps": 3, "asynchronous": asynchronous_checkpoints}
    config["runner"]["args"] |= {"checkpointing": {"class": Checkpointing, "args": saving}, **changes}
    config["train_dataset"]["args"]["count"] = 203
    return config
