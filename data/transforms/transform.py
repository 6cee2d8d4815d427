"""What every transform is, and the two ways most of them work."""

from collections.abc import Callable
from typing import Protocol

import torch

from pylon.data.datapoint import Datapoint

TensorMap = Callable[[torch.Tensor], torch.Tensor]


class Transform(Protocol):
    """A callable from datapoint to datapoint whose randomness comes from `generator` alone."""

    def __call__(self, datapoint: Datapoint, generator: torch.Generator) -> Datapoint:
        """The transformed datapoint; the given one stays as it is."""


def map_jointly(datapoint: Datapoint, on_image: TensorMap, on_label: TensorMap) -> Datapoint:
    """Apply one geometric change to every input (C, H, W) and every label (H, W)."""
    return {
        "inputs": {name: on_image(value) for name, value in datapoint["inputs"].items()},
        "labels": {name: on_label(value) for name, value in datapoint["labels"].items()},
        "meta_info": datapoint["meta_info"],
    }


def chance(probability: float, generator: torch.Generator) -> bool:
    """True with `probability`. Draws once in any case, so that later draws do not depend on it."""
    return torch.rand((), generator=generator).item() < probability


def check_probability(name: str, value: float) -> None:
    """Raise ValueError where `value` is no probability."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: {value}, expected 0 to 1.")


def size_of(datapoint: Datapoint) -> tuple[int, int]:
    """Height and width that all inputs and labels share. Raises ValueError if they differ."""
    values = [*datapoint["inputs"].values(), *datapoint["labels"].values()]
    sizes = {(int(value.shape[-2]), int(value.shape[-1])) for value in values}
    if len(sizes) != 1:
        raise ValueError(f"inputs and labels have sizes {sorted(sizes)}; a joint transform needs one size.")
    return sizes.pop()
