"""Read image pairs and their labels, and name the file that cannot be used."""

from pathlib import Path

import numpy as np
import torch

from pylon.data.errors import DatasetDamagedError
from pylon.data.image_reading import Pixels, Size, image_size, read_colours
from pylon.data.label_values import LabelValues, read_mask


def check_size(path: Path, size: Size) -> None:
    """Require that `path` is an image of `size`, reading no more than its first bytes.

    Args:
        path: the image file.
        size: (width, height) in pixels.

    Raises:
        DatasetDamagedError: it is not.
    """
    _require_size(path, image_size(path), size)


def read_triple(
    first: Path, second: Path, label: Path, size: Size | None = None, label_values: LabelValues | None = None
) -> tuple[Pixels, Pixels, Pixels]:
    """Decode both dates (H, W, 3) uint8 and the label (H, W) uint8 of classes: 0, 1 (changed), 255 (ignored).

    Args:
        first, second, label: the three files.
        size: the (width, height) that all three must have; None: any, but the same.
        label_values: what the label's numbers or colours mean; None: black and white.

    Raises:
        DatasetDamagedError: a file cannot be read without loss, has another size, or is a label with other
            values.
    """
    # Before anything is decoded: a small file may hold a huge image.
    expected = size or image_size(first)
    for path in (first, second, label):
        check_size(path, expected)
    classes = read_mask(label) if label_values is None else label_values.read(label)
    decoded = (read_colours(first), read_colours(second), classes)
    # A PNG may say after its pixels that it is to be turned.
    for path, pixels in zip((first, second, label), decoded, strict=True):
        _require_size(path, (pixels.shape[1], pixels.shape[0]), expected)
    return decoded


def to_image(pixels: Pixels) -> torch.Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float() / 255


def to_change_map(classes: Pixels) -> torch.Tensor:
    """(H, W) uint8 classes to (H, W) int64."""
    return torch.from_numpy(classes.astype(np.int64))


def _require_size(path: Path, found: Size, size: Size) -> None:
    if found != size:
        raise DatasetDamagedError(
            f"{path}: is {found[0]} x {found[1]} pixels (width x height), expected {size[0]} x {size[1]}. "
            "Copy the file again."
        )
