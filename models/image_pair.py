"""What every model of this package expects of its two images, and how they lie in memory."""

import torch


def prepared_image_pair(
    img_1: torch.Tensor,
    img_2: torch.Tensor,
    *,
    multiple_of: int = 1,
    minimum: int = 1,
    channels_last_on: tuple[str, ...] = ("cpu",),
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both images in the memory layout that is fastest on their device, if a model can compare them.

    On the CPU this is channels-last: convolutions of torch 2.13 then take 0.6 to 0.8 times as long
    (`python -m benchmarks.models`). Every later tensor follows. On a device that is not named the layout
    stays, and with it the choice of `Stepping(channels_last=...)`, which gives it to the weights.

    Args:
        img_1, img_2: expected (B, C, H, W), of the same shape.
        multiple_of: what H and W must be divisible by.
        minimum: the smallest H and W.
        channels_last_on: types of device.

    Returns:
        The same values.

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
    if img_1.device.type not in channels_last_on:
        return img_1, img_2
    return (
        img_1.contiguous(memory_format=torch.channels_last),
        img_2.contiguous(memory_format=torch.channels_last),
    )
