"""Where a non-finite number comes from: the data, or the training."""

from collections.abc import Iterable

import torch

from pylon.data import DataLoader, tensors_of
from pylon.runners.distributed import World
from pylon.runners.training.evaluation import Batch

_NAMED = 5
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
        for datapoint in _datapoints(values, batch["meta_info"]["idx"])
    ]


def _datapoints(values: torch.Tensor, idx: list[int]) -> list[str]:
    """Those whose row is not finite; all of the batch if a collate function has made other rows."""
    if values.ndim == 0 or len(values) != len(idx):
        return [f"a batch with datapoint idx={idx[0]}"]
    rows = zip(idx, values, strict=True)
    return [f"datapoint idx={one}" for one, row in rows if not bool(torch.isfinite(row).all())]


def advice(found: list[str]) -> str:
    """What to do about a non-finite loss or gradient.

    Args:
        found: what `non_finite_inputs` gave for the batches of the step.
    """
    if not found:
        return _WITH_FINITE_INPUTS
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (
        f"The data hold NaN or infinite values: {', '.join(found[:_NAMED])}{more}. Repair or leave out these "
        "datapoints, or look at what reads and transforms them."
    )


def advice_of_data(world: World, loader: DataLoader, seed: int, batches: list[int]) -> str:
    """The same for a step whose batches are gone: their datapoints are read again.

    Args:
        world: the ranks; each must call at the same time.
        loader: of the training data. It is at another place of the epoch afterwards.
        seed: of the epoch.
        batches: the numbers of this rank's batches in the step.
    """
    found = world.gather(_inputs_read_again(loader, seed, batches))
    return advice(list(dict.fromkeys(name for names in found for name in names)))


def _inputs_read_again(loader: DataLoader, seed: int, batches: list[int]) -> list[str]:
    try:
        return non_finite_inputs(loader.read_again(seed, batches))
    except Exception:  # noqa: BLE001 - of the user's reader; what is reported is the loss
        return []
