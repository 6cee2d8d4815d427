"""What is trained: configurations that Pylon runs, and that the others build the same parts from."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from benchmarks.training.instrument import MeasuredCriterion
from benchmarks.training.stopwatch import WatchedModel
from pylon.configs.benchmarks.change_detection.demo.HANet_run_0 import config as demo
from pylon.data import BaseDataset, DataLoader
from pylon.models import HANet
from pylon.runners import Checkpointing

Node = dict[str, Any]

_NAMES = ("img_1", "img_2")
_PAIRS = 1024
_FILES = 64


class SmallPairs(BaseDataset):
    """Random image pairs in memory, so that a step costs little but what surrounds it.

    Args:
        data_root, split, indices, transforms, seed, cache: see BaseDataset.
        count: datapoints; they share 1024 pairs.
        size: side of the images, pixels.
    """

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "val")
    INPUT_NAMES: ClassVar[tuple[str, ...]] = _NAMES
    LABEL_NAMES: ClassVar[tuple[str, ...]] = ("change_map",)
    CLASS_NAMES: ClassVar[tuple[str, ...]] = ("unchanged", "changed")

    def __init__(self, data_root: str, split: str, *, count: int, size: int, **others: Any) -> None:  # noqa: ANN401
        generator = torch.Generator().manual_seed(0)
        self.count = count
        self.pairs = torch.rand(min(count, _PAIRS), 2, 3, size, size, generator=generator)
        self.changes = (self.pairs[:, 1].mean(1) > self.pairs[:, 0].mean(1) + 0.1).long()
        super().__init__(data_root, split, **others)

    def _list_datapoints(self) -> Sequence[int]:
        return range(self.count)

    def _load_datapoint(self, annotation: int) -> tuple[Node, Node, Node]:
        first, second = self.pairs[annotation % _PAIRS]
        return {"img_1": first, "img_2": second}, {"change_map": self.changes[annotation % _PAIRS]}, {}


class PlainPairs(Dataset[Node]):
    """The same datapoints as torch's tutorials write a dataset: no seeds, no checks."""

    def __init__(self, pairs: SmallPairs) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        """Number of datapoints."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> Node:
        """One datapoint."""
        first, second = self._pairs.pairs[index % _PAIRS]
        change = self._pairs.changes[index % _PAIRS]
        return {"inputs": {"img_1": first, "img_2": second}, "labels": {"change_map": change}}


class CountedPairs(BaseDataset):
    """Image pairs in PNG files, each load of which leaves a line in a file.

    Args:
        data_root: folder of the PNG files, see `write_pairs`, and of `loads.txt`.
        split, indices, transforms, seed, cache: see BaseDataset.
        count: datapoints; they share the files.
    """

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "val")
    INPUT_NAMES: ClassVar[tuple[str, ...]] = _NAMES
    LABEL_NAMES: ClassVar[tuple[str, ...]] = ("change_map",)
    CLASS_NAMES: ClassVar[tuple[str, ...]] = ("unchanged", "changed")

    def __init__(self, data_root: str, split: str, *, count: int, **others: Any) -> None:  # noqa: ANN401
        self.count = count
        self._loads = (Path(data_root) / "loads.txt").open("ab", buffering=0)
        super().__init__(data_root, split, **others)

    def _list_datapoints(self) -> Sequence[int]:
        return range(self.count)

    def _load_datapoint(self, annotation: int) -> tuple[Node, Node, Node]:
        if self.split == "train":
            self._loads.write(f"{annotation}\n".encode())
        with Image.open(self.data_root / f"{annotation % _FILES}.png") as image:
            pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
            pixels = pixels.reshape(image.height, image.width, 3).permute(2, 0, 1) / 255
        first, second = pixels.chunk(2, dim=2)
        change = (second.mean(0) > first.mean(0) + 0.1).long()
        return {"img_1": first, "img_2": second}, {"change_map": change}, {}


def write_pairs(folder: Path, size: int) -> None:
    """Write the PNG files of CountedPairs, both images of a pair side by side, `size` pixels each."""
    generator = torch.Generator().manual_seed(0)
    for number in range(_FILES):
        pixels = torch.randint(0, 256, (size, 2 * size, 3), generator=generator, dtype=torch.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels.numpy()).save(content, "PNG")
        (folder / f"{number}.png").write_bytes(content.getvalue())


class SmallModel(nn.Module):
    """Four convolutions over both dates.

    Args:
        channels: of the layers between.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(6, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 2, 1),
        )

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2, H, W) of images (B, 3, H, W)."""
        logits: torch.Tensor = self.layers(torch.cat([img_1, img_2], dim=1))
        return logits


def demo_hanet() -> Node:
    """The demo as `make run` trains it, one epoch."""
    return {**demo, "epochs": 1}


def small_model() -> Node:
    """Steps of a few milliseconds: batches of 4 pairs of 16 x 16 pixels from memory."""
    return _on_pairs(
        {"class": SmallModel, "args": {"channels": 16}}, SmallPairs, batch_size=4, count=40_000, size=16
    )


def small_model_with_worker() -> Node:
    """The same with a loader worker: the datapoints are read while the steps go on."""
    config = small_model()
    loader = config["train_dataloader"]
    return {**config, "train_dataloader": {**loader, "args": {**loader["args"], "num_workers": 1}}}


def whole_hanet() -> Node:
    """HANet in full width with AdamW on tiny images: the state to save is the real one, a step is short."""
    return _on_pairs({"class": HANet, "args": {}}, SmallPairs, batch_size=1, count=4096, size=16)


def real_step() -> Node:
    """HANet in full width on batches of AirChange's form: 4 pairs of 112 x 112 pixels."""
    return _on_pairs({"class": HANet, "args": {}}, SmallPairs, batch_size=4, count=64, size=112)


def long_epoch(folder: Path, count: int) -> Node:
    """An epoch of `count` datapoints from files in `folder`, in batches of 4."""
    return _on_pairs(
        {"class": SmallModel, "args": {"channels": 4}},
        CountedPairs,
        batch_size=4,
        count=count,
        data_root=str(folder),
    )


def _on_pairs(model: Node, dataset: type[BaseDataset], *, batch_size: int, count: int, **args: Any) -> Node:  # noqa: ANN401
    args = {"data_root": ".", **args}
    return {
        **{key: demo[key] for key in ("runner", "work_dir", "seed", "criterion", "metric", "optimizer")},
        "epochs": 1,
        "model": model,
        "train_dataset": {"class": dataset, "args": {**args, "split": "train", "count": count}},
        "val_dataset": {"class": dataset, "args": {**args, "split": "val", "count": 2}},
        "train_dataloader": {
            "class": DataLoader,
            "args": {"batch_size": batch_size, "shuffle": True, "drop_last": True},
        },
        "val_dataloader": {"class": DataLoader, "args": {"batch_size": 1}},
        "monitor": demo["monitor"],
    }


def measured(config: Node, steps: int) -> Node:
    """The configuration with an epoch of `steps` steps and the measuring criterion; it is not tested."""
    criterion = {"class": MeasuredCriterion, "args": {"criterion": config["criterion"]}}
    return {**_short(config, steps), "criterion": criterion}


def watched(config: Node, steps: int, **runner_args: Any) -> Node:  # noqa: ANN401 - a runner's arguments
    """The same with a model that notes when its steps begin and end, and more arguments of the runner."""
    model = {"class": WatchedModel, "args": {"model": config["model"], "steps": steps}}
    return {**_short(config, steps, **runner_args), "model": model}


def saving(config: Node, steps: int, *, every_steps: int, asynchronous: bool) -> Node:
    """The same, saved after every so many steps."""
    arguments = {"every_steps": every_steps, "asynchronous": asynchronous}
    return watched(config, steps, checkpointing={"class": Checkpointing, "args": arguments})


def _short(config: Node, steps: int, **runner_args: Any) -> Node:  # noqa: ANN401
    args = {**config["runner"]["args"], "max_batches_per_epoch": steps, **runner_args}
    kept = {key: value for key, value in config.items() if not key.startswith("test_")}
    return {**kept, "runner": {**config["runner"], "args": args}}
