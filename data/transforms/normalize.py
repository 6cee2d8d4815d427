"""Subtract a mean and divide by a standard deviation, per date and channel."""

from collections.abc import Mapping, Sequence

import torch

from pylon.data.datapoint import Datapoint


class Normalize:
    """Per input and channel: (value - mean) / std.

    Args:
        mean: per input name, one number per channel, on the scale of the inputs (0..1).
        std: likewise, each above 0.
    """

    def __init__(self, mean: Mapping[str, Sequence[float]], std: Mapping[str, Sequence[float]]) -> None:
        if set(mean) != set(std):
            raise ValueError(f"mean is for {sorted(mean)}, std for {sorted(std)}; expected the same inputs.")
        lengths = {name: (len(mean[name]), len(std[name])) for name in mean}
        if any(of_mean != of_std for of_mean, of_std in lengths.values()):
            raise ValueError(f"numbers of (mean, std): {lengths}, expected one of each per channel.")
        if any(value <= 0 for values in std.values() for value in values):
            raise ValueError(f"std: {dict(std)}, expected numbers above 0.")
        self.mean = {name: _per_channel(values) for name, values in mean.items()}
        self.std = {name: _per_channel(values) for name, values in std.items()}

    def __call__(self, datapoint: Datapoint, generator: torch.Generator) -> Datapoint:  # noqa: ARG002 - nothing random
        """See Transform. Raises ValueError if the datapoint has other inputs or channels."""
        if set(datapoint["inputs"]) != set(self.mean):
            raise ValueError(
                f"mean and std are for {sorted(self.mean)}, inputs are {sorted(datapoint['inputs'])}."
            )
        for name, value in datapoint["inputs"].items():
            if value.shape[0] != len(self.mean[name]):
                raise ValueError(
                    f"mean of {name!r} has {len(self.mean[name])} numbers for {value.shape[0]} channels."
                )
        inputs = {
            name: (value - self.mean[name]) / self.std[name] for name, value in datapoint["inputs"].items()
        }
        return {"inputs": inputs, "labels": datapoint["labels"], "meta_info": datapoint["meta_info"]}


def _per_channel(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)
