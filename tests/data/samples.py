"""Datasets and files of known content."""

import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from pylon.data import BaseDataset, DatasetDamagedError
from pylon.data.change_detection.air_change_files import CASES

WIDTH, HEIGHT = 952, 640


class SampleDataset(BaseDataset):
    """Pairs in which each pixel is a function of its coordinates; split 'train' has 7, 'test' 3."""

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "test")
    INPUT_NAMES: ClassVar[tuple[str, ...]] = ("img_1", "img_2")
    LABEL_NAMES: ClassVar[tuple[str, ...]] = ("change_map",)
    CLASS_NAMES: ClassVar[tuple[str, ...]] = ("unchanged", "changed")
    SIZE: ClassVar[tuple[int, int]] = (24, 32)

    def _list_datapoints(self) -> Sequence[Any]:
        return [f"{self.split}-{number}" for number in range(7 if self.split == "train" else 3)]

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        number = int(annotation.rpartition("-")[2])
        image, label = coordinates(*self.SIZE)
        inputs = {"img_1": image, "img_2": 1 - image * (number + 1) / 8}
        return inputs, {"change_map": label}, {"name": annotation, "process": os.getpid()}


class LargeDataset(SampleDataset):
    """Images above the size from which torch divides sums among threads."""

    SIZE: ClassVar[tuple[int, int]] = (230, 260)


class GloballyRandomDataset(SampleDataset):
    """A user's dataset that draws from the global generators."""

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        draws = (random.random(), float(np.random.random()), float(torch.rand(())))
        return inputs, labels, {**meta_info, "draws": draws}


class DamagedDataset(SampleDataset):
    """Its fourth datapoint cannot be read."""

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if annotation == "train-3":
            raise DatasetDamagedError(f"/data/{annotation}.png: cannot be decoded. Copy the file again.")
        return super()._load_datapoint(annotation)


class UnevenDataset(SampleDataset):
    """Its sixth datapoint has another size."""

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        if annotation == "train-5":
            inputs = {name: value[:, :8] for name, value in inputs.items()}
            labels = {"change_map": labels["change_map"][:8]}
        return inputs, labels, meta_info


class KilledDataset(SampleDataset):
    """Whoever reads the fourth datapoint is killed."""

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if annotation == "train-3":
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._load_datapoint(annotation)


class HungDataset(SampleDataset):
    """Whoever reads the fourth datapoint never comes back."""

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if annotation == "train-3":
            time.sleep(1000)
        return super()._load_datapoint(annotation)


class StoppedDataset(SampleDataset):
    """Whoever reads the fourth datapoint is stopped, with batches of his that were not received yet."""

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if annotation == "train-3":
            time.sleep(0.3)  # the batches before are on their way
            os.kill(os.getpid(), signal.SIGSTOP)
        return super()._load_datapoint(annotation)


class SignalsDataset(SampleDataset):
    """Tells how its process handles signals."""

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
        return (
            inputs,
            labels,
            {**meta_info, "handlers": [str(signal.getsignal(number)) for number in numbers]},
        )


class CountedDataset(SampleDataset):
    """Notes every decoding of its one image in a file; all its datapoints are of that image."""

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        (pixels,) = self.cached_images("the image", self._decode)
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        return inputs, labels, {**meta_info, "sum": int(pixels.sum())}

    def _decode(self) -> tuple[Any, ...]:
        with (self.data_root / "decodings").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return (np.arange(600, dtype=np.uint8).reshape(20, 30),)

    def decodings(self) -> int:
        path = self.data_root / "decodings"
        return len(path.read_text().splitlines()) if path.exists() else 0


def coordinates(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An image (3, H, W) that encodes row and column of each pixel, and the label (H, W) that follows."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([rows / height, columns / width, (rows + columns) / (height + width)]).float()
    return image, label_of(image)


def label_of(image: torch.Tensor) -> torch.Tensor:
    """The label that belongs to an image of `coordinates`, wherever its pixels have gone."""
    return ((image[0] > 0.3) & (image[1] < 0.6)).long()


def write_air_change(root: Path) -> None:
    """AirChange's layout, mixed-case names and stray greys included; each pixel of im1 tells its place."""
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    for number, case in enumerate(CASES):
        folder = root / case
        folder.mkdir(parents=True)
        pixels = np.stack(
            [columns & 255, rows & 255, (columns >> 8) | (rows >> 8) << 2 | number << 4], axis=-1
        )
        label = mask(rows, columns) * 255
        if case == "Szada/6":
            label[3, 5] = 213
        if case == "Tiszadob/4":
            label[500, 10:18] = (21, 57, 66, 105, 144, 189, 192, 252)
        for name, content in (("im1", pixels), ("im2", 255 - pixels), ("gt", label)):
            upper = f"{case}/{name}" in {"Szada/5/im2", "Szada/6/gt", "Szada/7/im1"}
            Image.fromarray(content.astype(np.uint8)).save(
                folder / f"{name}{'.BMP' if upper else '.bmp'}", "BMP"
            )


def mask(rows: Any, columns: Any) -> Any:
    """Whether the pixel at these coordinates is changed in the files of `write_air_change`: 0 or 1."""
    return (rows // 5 + columns // 7) % 3 == 0


def place_of(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Row, column and case number of each pixel of an im1 of `write_air_change`, (3, H, W) in 0..1."""
    red, green, blue = (image * 255).round().long()
    return green | ((blue >> 2) & 3) << 8, red | (blue & 3) << 8, blue >> 4
