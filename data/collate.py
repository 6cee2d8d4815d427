"""Datapoints to batches."""

from collections.abc import Sequence
from typing import Any

import torch

from pylon.data.datapoint import Datapoint
from pylon.data.errors import DatasetContractError


def collate(datapoints: Sequence[Datapoint]) -> dict[str, Any]:
    """Stack inputs and labels; give meta_info as one list per key.

    Args:
        datapoints: B of them, with the same names, shapes and dtypes.

    Returns:
        {'inputs': {name: (B, C, H, W)}, 'labels': {name: (B, H, W)}, 'meta_info': {key: B values}}.
        A key of meta_info that some datapoint lacks has None there.

    Raises:
        DatasetContractError: the datapoints differ; names them and their shapes.
    """
    keys = dict.fromkeys(key for datapoint in datapoints for key in datapoint["meta_info"])
    return {
        "inputs": _stacked([datapoint["inputs"] for datapoint in datapoints], datapoints),
        "labels": _stacked([datapoint["labels"] for datapoint in datapoints], datapoints),
        "meta_info": {key: [datapoint["meta_info"].get(key) for datapoint in datapoints] for key in keys},
    }


def _stacked(
    parts: Sequence[dict[str, torch.Tensor]], datapoints: Sequence[Datapoint]
) -> dict[str, torch.Tensor]:
    expected = _form(parts[0])
    for part, datapoint in zip(parts, datapoints, strict=True):
        if _form(part) != expected:
            first, other = datapoints[0]["meta_info"].get("idx"), datapoint["meta_info"].get("idx")
            raise DatasetContractError(
                f"datapoints idx={first} and idx={other} cannot be one batch: {_shown(expected)} next to "
                f"{_shown(_form(part))}. Crop or resize them to one size, or use batch_size=1."
            )
    return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}


def _form(part: dict[str, torch.Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in part.items()}


def _shown(form: dict[str, tuple[torch.Size, torch.dtype]]) -> dict[str, str]:
    return {name: f"{tuple(shape)} {dtype}" for name, (shape, dtype) in sorted(form.items())}
