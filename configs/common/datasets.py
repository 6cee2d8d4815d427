"""The folder of each data set, and how each split of it is loaded."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pylon.data import DataLoader, SharedImageCache
from pylon.data.change_detection import AirChangeDataset, LEVIRCDDataset
from pylon.data.transforms import ColorJitter, Compose, Normalize, RandomCrop, RandomFlip, RandomRot90

Node = dict[str, Any]

# Mean and deviation per channel of AirChange's twelve pairs, by date, on a scale of 0..1.
_AIR_CHANGE = {
    "mean": {"img_1": [0.3387, 0.4717, 0.3899], "img_2": [0.4051, 0.4402, 0.3510]},
    "std": {"img_1": [0.1958, 0.1333, 0.1195], "img_2": [0.1681, 0.1352, 0.1142]},
}
# If a data set has no statistics: 0..1 becomes -1..1.
_CENTRED = {
    "mean": {"img_1": [0.5, 0.5, 0.5], "img_2": [0.5, 0.5, 0.5]},
    "std": {"img_1": [0.5, 0.5, 0.5], "img_2": [0.5, 0.5, 0.5]},
}
_ALL_AIR_CHANGE_BYTES = 64 * 2**20


def dataset_root(name: str) -> str:
    """Folder of data set `name`: under $PYLON_DATASETS, or under `datasets/` of the working directory."""
    return str(Path(os.environ.get("PYLON_DATASETS", "datasets")) / name)


def air_change(root: str, crops_per_image: int = 312, crop_size: int = 112) -> Node:
    """All three splits of AirChange: published crops and test area, the held-out corner for validation.

    All keep the images' own scale. HANet was published for 256 x 256 pixels, but enlarging the
    training crops to that would train it on objects 2.3 times as large as those it is tested on.

    Args:
        root: folder of the data set.
        crops_per_image: training crops of each of the twelve images.
        crop_size: their side in pixels.
    """
    return _splits(
        {
            split: (
                AirChangeDataset,
                {
                    "data_root": root,
                    "split": split,
                    "crops_per_image": crops_per_image,
                    "crop_size": crop_size,
                    "holdout_corner": True,
                    "cache": _node(SharedImageCache, capacity_bytes=_ALL_AIR_CHANGE_BYTES),
                },
            )
            for split in ("train", "val", "test")
        },
        before=[],
        statistics=_AIR_CHANGE,
    )


def levir_cd(root: str, crop_size: int = 256, indices: Mapping[str, Sequence[int]] | None = None) -> Node:
    """All three splits of LEVIR-CD: random crops for training, whole images otherwise.

    Args:
        root: folder of the data set.
        crop_size: side of the training crops in pixels.
        indices: per split positions in a folder without splits; None: the folder has splits.
    """
    datasets = {
        split: (
            LEVIRCDDataset,
            {"data_root": root, "split": split}
            if indices is None
            else {"data_root": root, "split": "all", "indices": list(indices[split])},
        )
        for split in ("train", "val", "test")
    }
    return _splits(datasets, before=[_node(RandomCrop, size=crop_size)], statistics=_CENTRED)


def loaders(batch_size: int, num_workers: int = 2) -> Node:
    """Shuffled full training batches; validation and test one datapoint at a time."""
    return {
        "train_dataloader": _node(
            DataLoader, batch_size=batch_size, shuffle=True, drop_last=True, num_workers=num_workers
        ),
        "val_dataloader": _node(DataLoader, batch_size=1),
        "test_dataloader": _node(DataLoader, batch_size=1),
    }


def _splits(datasets: Mapping[str, tuple[type, Node]], before: list[Node], statistics: Node) -> Node:
    normalize = _node(Normalize, **statistics)
    augment = [
        *before,
        _node(RandomRot90),
        _node(RandomFlip, horizontal=0.5, vertical=0.5),
        _node(ColorJitter, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, probability=0.5),
    ]
    steps = {"train": [*augment, normalize], "val": [normalize], "test": [normalize]}
    return {
        f"{split}_dataset": _node(cls, **args, transforms=_node(Compose, transforms=steps[split]))
        for split, (cls, args) in datasets.items()
    }


def _node(cls: type, **args: Any) -> Node:  # noqa: ANN401 - any constructor's arguments
    return {"class": cls, "args": args}
