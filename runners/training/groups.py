"""Which batches this rank takes of a pass, step by step: by their numbers, or of a stream as they come.

By number, a rank loads its own batches alone. A stream can only be read from its beginning: each rank reads
all of it and takes its own batches out, so that any number of ranks makes the steps of one process.
"""

import collections
import itertools
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from pylon.data import DataLoader, DatasetContractError, EmptyDatasetError, StreamDataset
from pylon.runners.distributed import AgreedStop, TrainingShare, World, evaluation_share
from pylon.runners.errors import TrainingError

logger = logging.getLogger(__name__)

Batch = dict[str, Any]
SAME_ON_RANKS = (
    "The run's processes share the batches of one stream out among themselves: let it give the same in each "
    "of them, in one order, and do not split it by rank."
)


class Group(NamedTuple):
    """The batches that this rank takes in one step.

    Attributes:
        batches: at least one.
        weight: the share of each of them in the step's mean loss, 0..1.
        last: whether it is the epoch's last step.
    """

    batches: list[Batch]
    weight: float
    last: bool


def groups_left(
    loader: DataLoader,
    seed: int,
    share: TrainingShare,
    first: int,
    *,
    epoch: int,
    world: World,
    at_most: int | None,
) -> Iterator[Group]:
    """An epoch's steps from the step `first` on.

    Args:
        loader: of the training data.
        seed: of the epoch.
        share: which batches this rank takes.
        first: the first step that has not been taken.
        epoch: its number.
        world: the ranks that take the steps together.
        at_most: batches of the epoch, None for all.

    Raises:
        EmptyDatasetError: a stream gives nothing.
        DatasetContractError: a stream gives less than has been taken of it already.
        TrainingError: it gives other numbers of batches on other ranks.
    """
    if loader.stream is None:
        loader.set_epoch_seed(seed, share.numbers(first), epoch=epoch)
        batches, steps = iter(loader), share.steps or 0
        for step in range(first, steps):
            own = list(itertools.islice(batches, len(share.of_step(step))))
            yield Group(own, share.weight(step), step + 1 == steps)
        return
    size = share.accumulate * share.ranks
    loader.set_epoch_seed(seed, epoch=epoch)
    read = itertools.islice(loader, at_most)
    if first:
        logger.info("the %d batches of this epoch that were taken before are read again", first * size)
        collections.deque(itertools.islice(read, first * size), maxlen=0)
    groups = _read_groups(read, size, world)
    group = next(groups, None)
    if group is None:
        raise _nothing_left(loader, first * size)
    while group is not None:
        following = next(groups, None)
        of_group = replace(share, batches=len(group))
        yield Group(
            [group[number] for number in of_group.of_step(0)], of_group.weight(0), last=following is None
        )
        group = following


def evaluation_rounds(
    loader: DataLoader, seed: int, total: int | None, world: World, stop: AgreedStop
) -> Iterator[Batch | None]:
    """This rank's batch of each round of an evaluation pass; None in a last round that has none for it.

    Args:
        loader: of the pass.
        seed: of the pass.
        total: at most so many batches of all ranks; None: all of a stream.
        world: the ranks that evaluate together.
        stop: the ranks meet in it before every round.

    Raises:
        RunStopped: the ranks have agreed to stop.
        TrainingError: a stream gives other numbers of batches on other ranks.
    """
    if loader.stream is None:
        loader.set_epoch_seed(seed, evaluation_share(total or 0, world.rank, world.size))
        batches = iter(loader)
        for _ in range(0, total or 0, world.size):
            stop.raise_if_signalled()
            yield next(batches, None)
        return
    loader.set_epoch_seed(seed)
    groups = _read_groups(itertools.islice(loader, total), world.size, world)
    stop.raise_if_signalled()
    while (group := next(groups, None)) is not None:
        yield group[world.rank] if world.rank < len(group) else None
        stop.raise_if_signalled()


def _read_groups(batches: Iterator[Batch], size: int, world: World) -> Iterator[list[Batch]]:
    """Groups of `size` batches, the last one perhaps shorter; on all ranks as many, or an error on all."""
    while True:
        group = list(itertools.islice(batches, size))
        most, least = world.maximum([len(group), -len(group)])
        if most != -least:
            raise TrainingError(
                f"a stream has ended on one of {world.size} ranks and not on another. {SAME_ON_RANKS}"
            )
        if not group:
            return
        yield group


def _nothing_left(loader: DataLoader, taken: int) -> Exception:
    name = loader.dataset.name if isinstance(loader.dataset, StreamDataset) else "the dataset"
    if taken == 0:
        return EmptyDatasetError(f"train_dataset: {name} gives no batch in an epoch, expected some.")
    return DatasetContractError(
        f"train_dataset: {name} gives no more batches than the {taken} that this epoch has taken before the "
        "run was resumed: it gives less than it did. Let it give the same whenever it is opened, or start "
        "over with --fresh."
    )
