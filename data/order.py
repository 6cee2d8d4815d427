"""The arguments of a loader that decide which datapoints a batch has."""

from collections.abc import Mapping
from typing import Any

from torch.utils.data.distributed import DistributedSampler

from pylon.data.sampler import EpochBatchSampler, EpochSampler, SeededOrder
from pylon.data.stream import StreamTurns

EpochOrder = EpochSampler | EpochBatchSampler | StreamTurns


def check_order(
    batch_size: int | None,
    sampler: object,
    batch_sampler: object,
    *,
    shuffle: bool,
    drop_last: bool,
) -> None:
    """Refuse arguments of a loader that contradict one another. Raises ValueError."""
    if batch_sampler is None:
        if batch_size is None or batch_size < 1:
            raise ValueError(f"batch_size: {batch_size}, expected at least 1")
        if sampler is not None and shuffle:
            raise ValueError("shuffle: True, expected False with a sampler, which gives the order")
        return
    contradicting = {"batch_size": batch_size, "sampler": sampler, "shuffle": shuffle, "drop_last": drop_last}
    for name, value in contradicting.items():
        if value:
            raise ValueError(f"{name}: {value!r}, expected nothing: the batch_sampler gives whole batches")


def check_stream_order(orders: Mapping[str, object]) -> None:
    """Refuse arguments that would order what an IterableDataset gives. Raises ValueError."""
    for name, value in orders.items():
        if value:
            raise ValueError(
                f"{name}: {value!r}, expected nothing: an IterableDataset gives its own order. Shuffle in "
                "its __iter__, with torch's, NumPy's or Python's global generator, which the loader seeds"
            )


def order_of(name: str, given: Any, dataset: object) -> SeededOrder | None:  # noqa: ANN401 - any sampler or function
    """The order that a loader's argument gives; None if there is none.

    Args:
        name: of the argument.
        given: a sampler, or a function that gets the dataset and returns one.
        dataset: of the loader, as it was given.

    Raises:
        ValueError: it is no sampler, has no length, or deals datapoints out to ranks itself.
    """
    if given is None:
        return None
    is_maker = isinstance(given, type) or (callable(given) and not hasattr(given, "__iter__"))
    sampler = given(dataset) if is_maker else given
    kind = type(sampler).__name__
    if isinstance(sampler, DistributedSampler):
        raise ValueError(
            f"{name}: {kind}, expected one for all ranks: the loader itself deals the batches out to them"
        )
    if not hasattr(sampler, "__iter__") or not hasattr(sampler, "__len__"):
        raise ValueError(f"{name}: {kind}, expected a sampler with __iter__ and __len__")
    return SeededOrder(sampler)
