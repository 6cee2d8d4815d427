"""Whether the first batch of a training is the same when it is read again, as a run that resumes needs it.

A resumed run asks for the order of its epoch once more, and for what it has not trained on yet.
"""

import logging
from collections.abc import Sequence

import torch

from pylon.data import listed, tensors_of
from pylon.runners.training.evaluation import Batch

logger = logging.getLogger(__name__)

_NUMBERS = (
    "draw from generators of Python, NumPy or torch that are global or an attribute: one that is made each "
    "time, a clock and os.urandom have other numbers in a resumed run"
)


def warn_of_other_batches(data: str, batches: Sequence[Batch], again: Sequence[Batch]) -> None:
    """Log in which way batches differ that were read twice with the same seeds. Only one way is named.

    Args:
        data: what they are of, as in 'train_dataset (Rows)'.
        batches: read first.
        again: the same numbers of the same epoch.
    """
    for batch, other in zip(batches, again, strict=False):
        idx, other_idx = (list(one["meta_info"]["idx"]) for one in (batch, other))
        if idx != other_idx:
            logger.warning(
                "train_dataloader: its sampler gave the datapoints %s, and %s when it was asked again with "
                "the same seeds. A run that resumes within an epoch then takes some twice and leaves others "
                "out. Let the sampler keep nothing from one epoch to the next, and %s.",
                listed(idx),
                listed(other_idx),
                _NUMBERS,
                extra={"of_all_ranks": True},
            )
            return
        if place := _other_place(batch, other):
            logger.warning(
                "%s: %s of the datapoints %s had other numbers when they were read again with the same "
                "seeds. A resumed run then differs from one that was not interrupted. Let a datapoint follow "
                "from its index, and %s.",
                data,
                place,
                listed(idx),
                _NUMBERS,
                extra={"of_all_ranks": True},
            )
            return


def warn_of_other_stream(name: str, batch: Batch, again: Batch) -> None:
    """Log if a stream's first batch differs from that of a second opening with the same seeds.

    Args:
        name: of the stream's class.
        batch: of the first opening.
        again: of the second one.
    """
    if _other_place(batch, again) is not None:
        logger.warning(
            "train_dataset: %s gave another first batch when it was opened again with the same seeds. A run "
            "that resumes within an epoch reads the epoch again from its beginning: it then takes some "
            "datapoints twice and leaves others out. Let the stream keep nothing from one epoch to the next, "
            "and %s. For webdataset: shuffle(..., rng=random).",
            name,
            _NUMBERS,
            extra={"of_all_ranks": True},
        )


def _other_place(batch: Batch, other: Batch) -> str | None:
    """The first tensor of inputs and labels that is another one; None if all are the same."""
    for key in ("inputs", "labels"):
        pairs = zip(tensors_of(batch[key], key), tensors_of(other[key], key), strict=False)
        for (place, one), (_, another) in pairs:
            if not _is_same(one, another):
                return place
    return None


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    if any(tensor.layout != torch.strided or tensor.is_nested for tensor in (one, other)):
        return True  # not looked at: torch compares few of these
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    try:
        # NaN is a value that is missing, and no other number.
        return bool(((one == other) | ((one != one) & (other != other))).all())  # noqa: PLR0124
    except Exception:  # noqa: BLE001 - a user's own tensors may raise anything
        return True
