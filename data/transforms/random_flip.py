"""Mirror images and labels."""

import torch

from pylon.data.datapoint import Datapoint
from pylon.data.transforms.transform import chance, check_probability, map_jointly


class RandomFlip:
    """Left to right and top to bottom, each with its own probability.

    Args:
        horizontal: probability of mirroring left to right, 0..1.
        vertical: probability of mirroring top to bottom, 0..1.
    """

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.5) -> None:
        check_probability("horizontal", horizontal)
        check_probability("vertical", vertical)
        self.horizontal = horizontal
        self.vertical = vertical

    def __call__(self, datapoint: Datapoint, generator: torch.Generator) -> Datapoint:
        """See Transform."""
        drawn = ((-1, chance(self.horizontal, generator)), (-2, chance(self.vertical, generator)))
        dims = [dim for dim, happens in drawn if happens]

        def flip(value: torch.Tensor) -> torch.Tensor:
            return torch.flip(value, dims)

        return map_jointly(datapoint, flip, flip) if dims else datapoint
