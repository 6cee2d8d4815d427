"""Where a non-finite number comes from: the data, or the training."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from pylon.data import DataLoader
from pylon.runners.distributed import World
from pylon.runners.training.evaluation import Batch

_NAMED = 5
_WITH_FINITE_INPUTS = (
    "The inputs of this step are finite. Lower the learning rate, clip gradients (stepping.args.clip_norm), "
    "or look at the criterion."
)


def non_finite_inputs(batches: Iterable[Batch]) -> list[str]:
    """The inputs that hold a NaN or infinite value, each named with its datapoint."""
    return [
        f"inputs[{name!r}] of datapoint idx={idx}"
        for batch in batches
        for name, values in _tensors(batch.get("inputs"))
        for idx, value in zip(batch["meta_info"]["idx"], values, strict=True)
        if not bool(torch.isfinite(value).all())
    ]


def _tensors(inputs: object) -> Iterator[tuple[str, torch.Tensor]]:
    """Those that can be looked at: a collate_fn of the user's may give anything."""
    for name, value in inputs.items() if isinstance(inputs, dict) else ():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            yield name, value


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
    def batch_of(datapoint: Mapping[str, Any]) -> Batch:
        inputs = {name: value.unsqueeze(0) for name, value in datapoint["inputs"].items()}
        return {"inputs": inputs, "meta_info": {"idx": [datapoint["meta_info"]["idx"]]}}

    try:
        return non_finite_inputs(batch_of(one) for one in loader.read_again(seed, batches))
    except Exception:  # noqa: BLE001 - of the user's reader; what is reported is the loss
        return []
