"""Rotate by a multiple of 90 degrees."""

import torch

from pylon.data.datapoint import Datapoint
from pylon.data.transforms.transform import map_jointly


class RandomRot90:
    """By 0, 90, 180 or 270 degrees with equal probability; no pixel is interpolated."""

    def __call__(self, datapoint: Datapoint, generator: torch.Generator) -> Datapoint:
        """See Transform. A rotation by 90 or 270 degrees swaps height and width."""
        turns = int(torch.randint(4, (), generator=generator))

        def rotate(value: torch.Tensor) -> torch.Tensor:
            return torch.rot90(value, turns, dims=(-2, -1))

        return map_jointly(datapoint, rotate, rotate)
