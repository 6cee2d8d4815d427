"""What is said and tried of an IterableDataset before the first step."""

import logging

from pylon.data import DataLoader, EmptyDatasetError, StreamDataset, digest_of
from pylon.runners.distributed import World
from pylon.runners.errors import TrainingError
from pylon.runners.training.evaluation import Batch
from pylon.runners.training.groups import SAME_ON_RANKS

logger = logging.getLogger(__name__)


def first_batches(loader: DataLoader, seed: int) -> list[Batch]:
    """The first batch of each worker of a stream, which are seeded alike."""
    stream, dataset = loader.stream, loader.dataset
    if stream is None or not isinstance(dataset, StreamDataset):
        return []
    loader.set_epoch_seed(seed, range(dataset.workers))
    stream.alike = True
    try:
        return list(loader)
    finally:
        stream.alike = False


def rehearsed_batches(split: str, loader: DataLoader, seed: int, world: World) -> list[Batch]:
    """The first batch of a stream, which is compared with those of other workers and ranks.

    Raises:
        EmptyDatasetError: there is none.
        TrainingError: another rank has another one.
    """
    dataset, found = loader.dataset, first_batches(loader, seed)
    if not isinstance(dataset, StreamDataset):
        return []
    if not found:
        raise EmptyDatasetError(f"{split}_dataset: {dataset.name} gives no batch, expected some.")
    digests = [digest_of(batch) for batch in found]
    if len(set(digests)) < len(digests):
        logger.warning(
            "%s_dataset: %s gives the same to several of its %d workers. If it reads files or rows, an epoch "
            "has each of them several times: let __iter__ give a part by torch.utils.data.get_worker_info(), "
            "or use num_workers 0 or 1.",
            split,
            dataset.name,
            dataset.workers,
            extra={"of_all_ranks": True},
        )
    for rank, digest in enumerate(world.gather(digests[0])):
        if digest != digests[0]:
            raise TrainingError(
                f"{split}_dataset: {dataset.name} gives another first batch on rank {rank} than on rank "
                f"{world.rank}. {SAME_ON_RANKS}"
            )
    return found[:1]


def report_stream(loader: DataLoader, ranks: int) -> None:
    """Log what a run over a stream cannot promise."""
    dataset = loader.dataset
    if isinstance(dataset, StreamDataset):
        logger.info(
            "train_dataset: %s is an IterableDataset, whose place in an epoch cannot be saved. A run that "
            "resumes within an epoch reads again what it has taken before; it has the same bits only if the "
            "dataset gives the same whenever it is opened.%s",
            dataset.name,
            f" Each of the {ranks} processes reads all of it." if ranks > 1 else "",
        )
