"""The usual pipelines of others for a pair and its label, as their documentation shows them.

All give what Pylon's transforms give: a random crop, flipped, in other colours with probability 0.5, centred,
as tensors. Turns by 90 degrees are left out where a library has none.
"""

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Dataset

Triple = tuple[Path, Path, Path]
Item = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

_JITTER = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02}
_HALF = (0.5, 0.5, 0.5)


class Albumentations(Dataset[Item]):
    """cv2 decodes, albumentations transforms both dates and the label together.

    Args:
        files: of each pair.
        size: side of the crop, pixels.
    """

    def __init__(self, files: Sequence[Triple], size: int) -> None:
        self._files = files
        self._cv2: Any = importlib.import_module("cv2")
        library: Any = importlib.import_module("albumentations")
        to_tensor: Any = importlib.import_module("albumentations.pytorch").ToTensorV2
        self._cv2.setNumThreads(0)  # as its documentation advises for loader workers
        self._compose = library.Compose(
            [
                library.RandomCrop(size, size),
                library.RandomRotate90(),
                library.HorizontalFlip(),
                library.VerticalFlip(),
                library.ColorJitter(**_JITTER, p=0.5),
                library.Normalize(_HALF, _HALF),
                to_tensor(),
            ],
            additional_targets={"other": "image"},
        )

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._files)

    def __getitem__(self, index: int) -> Item:
        """A pair and its label."""
        cv2, (first, second, label) = self._cv2, self._files[index]
        dates = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in (first, second)]
        mask = (cv2.imread(str(label), cv2.IMREAD_GRAYSCALE) > 127).astype("int64")
        found = self._compose(image=dates[0], other=dates[1], mask=mask)
        return found["image"], found["other"], found["mask"]


class Torchvision(Dataset[Item]):
    """Pillow decodes, torchvision's transforms (v2) take both dates and the label together.

    Args:
        files: of each pair.
        size: side of the crop, pixels.
    """

    def __init__(self, files: Sequence[Triple], size: int) -> None:
        self._files = files
        self._tensors: Any = importlib.import_module("torchvision.tv_tensors")
        v2: Any = importlib.import_module("torchvision.transforms.v2")
        self._functional = v2.functional
        self._compose = v2.Compose(
            [
                v2.RandomCrop(size),
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(),
                v2.RandomApply([v2.ColorJitter(**_JITTER)], p=0.5),
                v2.ToDtype({self._tensors.Image: torch.float32, "others": None}, scale=True),
                v2.Normalize(_HALF, _HALF),
            ]
        )

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._files)

    def __getitem__(self, index: int) -> Item:
        """A pair and its label."""
        first, second, label = (Image.open(path) for path in self._files[index])
        to_tensor = self._functional.pil_to_tensor
        dates = [self._tensors.Image(to_tensor(image.convert("RGB"))) for image in (first, second)]
        mask = self._tensors.Mask((to_tensor(label.convert("L"))[0] > 127).long())
        found: Item = self._compose((*dates, mask))
        return found


PEERS: dict[str, tuple[type[Albumentations] | type[Torchvision], tuple[str, ...]]] = {
    "albumentations": (Albumentations, ("albumentations", "cv2")),
    "torchvision": (Torchvision, ("torchvision",)),
}


def missing(name: str) -> list[str]:
    """The modules that a peer needs and that are not installed."""
    return [module for module in PEERS[name][1] if importlib.util.find_spec(module) is None]
