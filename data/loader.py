"""Batches whose order and augmentation follow from one seed per epoch, for any number of workers.

EpochSampler ── SeededIndex(index, epoch seed) ──> worker: dataset ── Datapoint ──> collate ──> batch
"""

import signal
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from data.collate import collate
from data.dataset import BaseDataset
from data.errors import LoaderWorkerError
from data.sampler import EpochSampler
from data.worker_failure import FailureAwareCollate, WorkerFailure
from data.worker_life import end_with_parent


class DataLoader(torch.utils.data.DataLoader[Any]):
    """torch's loader with an epoch seed, which also reaches persistent workers.

    Args:
        dataset: what to load; given by the runner.
        batch_size: datapoints per batch, at least 1.
        shuffle: draw the order from the epoch's seed.
        num_workers: processes that load; 0: the calling one.
        drop_last: leave out a last batch that is not full.
        persistent_workers: keep the workers between epochs; None: yes where there are any.
        pin_memory: copy batches to page-locked memory, for a CUDA device.
        prefetch_factor: batches that each worker loads ahead; None: torch's default.
        multiprocessing_context: start method of the workers, 'fork', 'forkserver' or 'spawn'; None:
            the platform's default.
        collate_fn: datapoints to a batch.
    """

    def __init__(
        self,
        dataset: BaseDataset,
        *,
        batch_size: int,
        shuffle: bool = False,
        num_workers: int = 0,
        drop_last: bool = False,
        persistent_workers: bool | None = None,
        pin_memory: bool = False,
        prefetch_factor: int | None = None,
        multiprocessing_context: str | None = None,
        collate_fn: Callable[..., Any] = collate,
    ) -> None:
        self._epoch_sampler = EpochSampler(len(dataset), shuffle=shuffle)
        super().__init__(
            dataset,
            batch_size=batch_size,
            sampler=self._epoch_sampler,
            num_workers=num_workers,
            drop_last=drop_last,
            persistent_workers=num_workers > 0 if persistent_workers is None else persistent_workers,
            pin_memory=pin_memory,
            prefetch_factor=prefetch_factor,
            multiprocessing_context=multiprocessing_context,
            collate_fn=FailureAwareCollate(collate_fn),
            worker_init_fn=_initialise_worker,
            # torch draws a base seed per iteration, by default from the global generator: an own one
            # keeps that generator's state independent of how often a loader was iterated.
            generator=torch.Generator(),
        )

    def set_epoch_seed(self, seed: int, first_batch: int = 0) -> None:
        """Let order and augmentation of the next iterations follow from `seed` alone.

        Args:
            seed: of the epoch.
            first_batch: start at this batch of the epoch, counted from 0. Nothing before it is loaded,
                and the batches from it on are those of a whole epoch, to the bit.

        Raises:
            ValueError: `seed` is outside 0..2**63 - 1, or `first_batch` is negative.
        """
        # Every batch but the last is full, so a batch's first datapoint follows from its number.
        self._epoch_sampler.set_epoch_seed(seed, first_batch * (self.batch_size or 1))

    def close(self) -> None:
        """End the persistent workers now. The next iteration starts new ones.

        Left to the garbage collector, they may find their queues closed before they are told to end,
        and torch waits 5 s for each: too long for a run that was asked to stop.
        """
        iterator, self._iterator = self._iterator, None
        if iterator is not None and self.num_workers > 0:
            iterator._shutdown_workers()

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # torch names a private class here
        """The epoch's batches.

        Raises:
            DataError: a datapoint cannot be read; its type and text are those of the worker's error.
            RuntimeError: a worker died (torch's own, or LoaderWorkerError).
        """
        with warnings.catch_warnings():
            # From Python 3.12 on, a fork beside any other thread warns. Workers do no more than decode
            # and transform, on one thread each; 'forkserver' and 'spawn' are there for who needs them.
            warnings.filterwarnings(
                "ignore", message=".*fork.*may lead to deadlocks", category=DeprecationWarning
            )
            batches = super().__iter__()
        batch: Any = None
        try:
            while (batch := self._received(batches)) is not None:
                if isinstance(batch, WorkerFailure):
                    raise batch.error
                yield batch
        finally:
            # The error's traceback holds this frame, and the frame must not hold the error: when torch's
            # iterator is freed with a cycle, it finds its queues closed and waits 5 s for each worker.
            del batch, batches

    def _received(self, batches: Iterator[Any]) -> Any:  # noqa: ANN401 - any batch
        """The next batch; None at the end."""
        try:
            return next(batches, None)
        except (ConnectionError, EOFError) as error:
            if self.num_workers == 0:
                raise
            # torch notices a dead worker while it waits for a batch, not while it opens one.
            raise LoaderWorkerError(
                f"a batch of a loader worker could not be received ({type(error).__name__}: {error}). It "
                "may have been killed for want of memory: try fewer num_workers or a smaller batch_size."
            ) from error


def _initialise_worker(_worker_id: int) -> None:
    """Give a loader worker the signal handling of a worker, and let it end with its parent.

    A forked worker inherits the run's handlers. Ctrl-C reaches the whole terminal group, and the
    run decides what it means; SIGTERM, which the loader ends its workers with, must end them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    end_with_parent()
