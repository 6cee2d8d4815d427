"""Several transforms, one after another."""

from collections.abc import Sequence

import torch

from pylon.data.datapoint import Datapoint
from pylon.data.transforms.transform import Transform


class Compose:
    """Applies transforms in order, all drawing from the same generator.

    Args:
        transforms: the transforms, first to last.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, datapoint: Datapoint, generator: torch.Generator) -> Datapoint:
        """See Transform."""
        for transform in self.transforms:
            datapoint = transform(datapoint, generator)
        return datapoint
