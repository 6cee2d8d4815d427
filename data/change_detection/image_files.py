"""Read image pairs and their masks, and name the file that cannot be used."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from pylon.data.errors import DatasetDamagedError

Pixels = npt.NDArray[np.uint8]

_CHANGED_ABOVE = 127
_DECODER_ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def check_header(path: Path, size: tuple[int, int]) -> None:
    """Require that `path` is an image of `size`, reading no more than its first bytes.

    Args:
        path: the image file.
        size: (width, height) in pixels.

    Raises:
        DatasetDamagedError: it is not.
    """
    try:
        with Image.open(path) as image:
            found = image.size
    except _DECODER_ERRORS as error:
        raise _undecodable(path, error) from error
    _require_size(path, found, size)


def read_image(path: Path, mode: str) -> Pixels:
    """Decode a file.

    Args:
        path: the image file.
        mode: 'RGB' gives (H, W, 3), 'L' gives (H, W), uint8.

    Raises:
        DatasetDamagedError: the file is unreadable or truncated.
    """
    try:
        with Image.open(path) as image:
            return np.array(image.convert(mode))
    except _DECODER_ERRORS as error:
        raise _undecodable(path, error) from error


def read_triple(
    first: Path, second: Path, label: Path, size: tuple[int, int] | None = None
) -> tuple[Pixels, Pixels, Pixels]:
    """Decode both dates (H, W, 3) and the label (H, W).

    Args:
        first, second, label: the three files.
        size: the (width, height) that all three must have; None: any, but the same.

    Raises:
        DatasetDamagedError: a file is unreadable, has another size, or is a label on another scale
            than 0..255.
    """
    images = (read_image(first, "RGB"), read_image(second, "RGB"), read_image(label, "L"))
    expected = size or (images[0].shape[1], images[0].shape[0])
    for path, pixels in zip((first, second, label), images, strict=True):
        _require_size(path, (pixels.shape[1], pixels.shape[0]), expected)
    brightest = int(images[2].max())
    if 0 < brightest <= _CHANGED_ABOVE:
        # Copies with 0 and 1 are about; they would read as 'no change anywhere'.
        raise DatasetDamagedError(
            f"{label}: its brightest pixel is {brightest}, expected 255 for changed. Scale it."
        )
    return images


def to_image(pixels: Pixels) -> torch.Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float() / 255


def to_change_map(pixels: Pixels) -> torch.Tensor:
    """(H, W) uint8 to (H, W) int64: 1 (changed) above 127, else 0.

    Masks are meant to hold 0 and 255 alone. In AirChange's, nine pixels hold other greys; each goes
    to the nearer end. In the twelve test areas that gives 197,891 changed pixels of 4,214,784, four
    more than '== 255' would.
    """
    return torch.from_numpy((pixels > _CHANGED_ABOVE).astype(np.int64))


def _undecodable(path: Path, error: Exception) -> DatasetDamagedError:
    return DatasetDamagedError(f"{path}: cannot be decoded: {error}. Copy the file anew.")


def _require_size(path: Path, found: tuple[int, int], expected: tuple[int, int]) -> None:
    if found != expected:
        raise DatasetDamagedError(
            f"{path}: is {found[0]} x {found[1]} pixels (width x height), "
            f"expected {expected[0]} x {expected[1]}. Copy the file anew."
        )
