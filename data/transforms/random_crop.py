"""Crop a window at a random place."""

import torch

from pylon.data.datapoint import Datapoint
from pylon.data.transforms.transform import map_jointly, size_of


class RandomCrop:
    """The same window of every input and label, its place drawn uniformly.

    Args:
        size: (height, width) in pixels, or one number for both.
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = (size, size) if isinstance(size, int) else (size[0], size[1])
        if min(self.size) < 1:
            raise ValueError(f"size: {size}, expected at least 1 pixel.")

    def __call__(self, datapoint: Datapoint, generator: torch.Generator) -> Datapoint:
        """See Transform. Raises ValueError if the datapoint is smaller than the window."""
        height, width = size_of(datapoint)
        if height < self.size[0] or width < self.size[1]:
            raise ValueError(f"size: a crop of {self.size} does not fit into {height} x {width} pixels.")
        top = int(torch.randint(height - self.size[0] + 1, (), generator=generator))
        left = int(torch.randint(width - self.size[1] + 1, (), generator=generator))

        def crop(value: torch.Tensor) -> torch.Tensor:
            return value[..., top : top + self.size[0], left : left + self.size[1]]

        return map_jointly(datapoint, crop, crop)
