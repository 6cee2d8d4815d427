"""The unit of data: inputs, labels and what is known about them."""

from typing import Any, TypedDict

import torch

IGNORE_INDEX = 255


class Datapoint(TypedDict):
    """One datapoint.

    Attributes:
        inputs: by name, float32 (C, H, W); images lie in 0..1 before normalisation.
        labels: by name, int64 (H, W); 255 is ignored by criteria and metrics.
        meta_info: anything else, plain Python values; `idx`, the position in the dataset, is
            added by BaseDataset.
    """

    inputs: dict[str, torch.Tensor]
    labels: dict[str, torch.Tensor]
    meta_info: dict[str, Any]
