"""What every model of this package expects of its two images."""

import torch


def check_image_pair(
    img_1: torch.Tensor, img_2: torch.Tensor, *, multiple_of: int = 1, minimum: int = 1
) -> None:
    """Refuse two images that a model cannot compare.

    Args:
        img_1, img_2: expected (B, C, H, W), of the same shape.
        multiple_of: what H and W must be divisible by.
        minimum: the smallest H and W.

    Raises:
        ValueError: names the argument, its shape, and what was expected.
    """
    if img_1.ndim != 4 or img_1.shape != img_2.shape:
        raise ValueError(
            f"img_1, img_2: shapes {tuple(img_1.shape)} and {tuple(img_2.shape)}, "
            "expected the same (B, C, H, W) for both."
        )
    height, width = img_1.shape[-2:]
    if height % multiple_of or width % multiple_of:
        raise ValueError(
            f"img_1, img_2: height {height} and width {width}, expected multiples of {multiple_of}. "
            "Crop, pad or resize the images in the dataset's transforms, or predict on tiles."
        )
    if min(height, width) < minimum:
        raise ValueError(f"img_1, img_2: height {height} and width {width}, expected {minimum} or more.")
