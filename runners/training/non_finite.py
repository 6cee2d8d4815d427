"""Where a non-finite number comes from: the data, or the training."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from pylon.data import DataLoader, tensors_of
from pylon.runners.distributed import World
from pylon.runners.training.evaluation import Batch

_NAMED = 5
# What a datapoint's meta_info may name it by.
_NAMES = ("name", "path", "file")
_WITH_FINITE_INPUTS = (
    "The inputs of this step are finite. Lower the learning rate, clip gradients (stepping.args.clip_norm), "
    "or look at the criterion."
)


def non_finite_inputs(batches: Iterable[Batch]) -> list[str]:
    """The inputs and labels that hold a NaN or infinite value, each named with its datapoint."""
    return [
        f"{place} of {datapoint}"
        for batch in batches
        for part in ("inputs", "labels")
        for place, values in tensors_of(batch.get(part), part)
        if values.is_floating_point() and not bool(torch.isfinite(values).all())
        for datapoint in _datapoints(values, batch["meta_info"])
    ]


def _datapoints(values: torch.Tensor, meta_info: Mapping[str, Any]) -> list[str]:
    """Those whose row is not finite; all of the batch if a collate function has made other rows."""
    count = len(meta_info["idx"])
    if values.ndim == 0 or len(values) != count:
        return [f"a batch with {_datapoint(meta_info, 0)}"]
    rows = [number for number in range(count) if not bool(torch.isfinite(values[number]).all())]
    return [_datapoint(meta_info, row) for row in rows]


def _datapoint(meta_info: Mapping[str, Any], row: int) -> str:
    """The datapoint by its index, and by what its dataset calls it."""
    listed = {key: meta_info[key] for key in _NAMES if isinstance(meta_info.get(key), list)}
    names = [f"{key}={values[row]}" for key, values in listed.items() if row < len(values)]
    return " ".join([f"datapoint idx={meta_info['idx'][row]}", *(f"({name})" for name in names)])


def advice(found: list[str] | None, data: str) -> str:
    """What to do about a non-finite loss or gradient.

    Args:
        found: what `non_finite_inputs` gave for the batches of the step; None: they could not be read again.
        data: what they are of, as in 'train_dataset (Rows)'.
    """
    if found is None:
        return f"Whether the data are finite is not known: {data} could not be read again."
    if not found:
        return _WITH_FINITE_INPUTS
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (
        f"{data} has NaN or infinite values: {', '.join(found[:_NAMED])}{more}. Repair or leave out these "
        "datapoints, or look at what reads and transforms them."
    )


def advice_of_data(world: World, loader: DataLoader, seed: int, batches: list[int], data: str) -> str:
    """The same for a step whose batches are gone: their datapoints are read again.

    Args:
        world: the ranks; each must call at the same time.
        loader: of the training data. It is at another place of the epoch afterwards.
        seed: of the epoch.
        batches: the numbers of this rank's batches in the step.
        data: what the loader reads, as in 'train_dataset (Rows)'.
    """
    found = world.gather(_inputs_read_again(loader, seed, batches))
    named = list(dict.fromkeys(name for names in found for name in names or ()))
    return advice(None if None in found and not named else named, data)


def _inputs_read_again(loader: DataLoader, seed: int, batches: list[int]) -> list[str] | None:
    try:
        return non_finite_inputs(loader.read_again(seed, batches))
    except Exception:  # noqa: BLE001 - of the user's reader; what is reported is the loss
        return None
