"""The unit of data: inputs, labels and what is known about them."""

from typing import Any, TypedDict

IGNORE_INDEX = 255


class Datapoint(TypedDict):
    """One datapoint.

    Attributes:
        inputs: by name, anything that `collate` stacks; images are float32 (C, H, W), in 0..1 before
            normalisation.
        labels: by name, the same; maps of classes are int64 (H, W), 255 is ignored by criteria and metrics.
        meta_info: anything else, plain Python values; `idx`, the position in the dataset, is
            added by BaseDataset.
    """

    inputs: dict[str, Any]
    labels: dict[str, Any]
    meta_info: dict[str, Any]
