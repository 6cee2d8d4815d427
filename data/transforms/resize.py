"""Resize to a fixed size."""

import torch

from pylon.data.datapoint import Datapoint
from pylon.data.transforms.transform import map_jointly


class Resize:
    """Images bilinearly with antialiasing, labels by nearest neighbour, so that no class is invented.

    Args:
        size: (height, width) in pixels, or one number for both.
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = (size, size) if isinstance(size, int) else (size[0], size[1])
        if min(self.size) < 1:
            raise ValueError(f"size: {size}, expected at least 1 pixel.")

    def __call__(self, datapoint: Datapoint, generator: torch.Generator) -> Datapoint:  # noqa: ARG002 - nothing random
        """See Transform."""
        return map_jointly(datapoint, self._image, self._label)

    def _image(self, image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(
            image[None], self.size, mode="bilinear", align_corners=False, antialias=True
        )[0]

    def _label(self, label: torch.Tensor) -> torch.Tensor:
        # 'nearest-exact' samples pixel centres; torch's older 'nearest' shifts by half a pixel.
        return torch.nn.functional.interpolate(label[None, None].float(), self.size, mode="nearest-exact")[
            0, 0
        ].long()
