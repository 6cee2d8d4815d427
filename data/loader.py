"""Batches whose order and augmentation follow from one seed per epoch, for any number of workers.

EpochSampler ── SeededIndex(index, epoch seed) ──> worker: dataset ── datapoint ──> collate ──> batch
StreamTurns ── Turn(epoch seed) ──> worker: IterableDataset ──┘
"""

import functools
import itertools
import math
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from pylon.data.batch import BatchCollate
from pylon.data.batch_pipe import WorkerIterator
from pylon.data.collate import collate
from pylon.data.dataset import BaseDataset
from pylon.data.done_event import DoneEvent
from pylon.data.hand_over import HandOver
from pylon.data.local_iterator import LocalIterator
from pylon.data.map_dataset import MapDataset
from pylon.data.order import EpochOrder, check_order, check_stream_order, order_of
from pylon.data.receiving import BatchReceiver
from pylon.data.sampler import EpochBatchSampler, EpochSampler
from pylon.data.stream import EndAwareCollate, StreamDataset, StreamTurns, is_stream
from pylon.data.worker_failure import FailureAwareCollate, WorkerFailure, WorkerTraceback
from pylon.data.worker_files import share_temporary_folder
from pylon.data.worker_processes import WorkerProcesses, initialise_worker, signals_held_back
from pylon.data.worker_start import dead_workers_not_waited_for, failed_starts_ended
from pylon.data.worker_watch import (
    POLL_S,
    WorkerWatch,
    end_workers,
    hide_from_handler,
    no_handler_for_deaths,
)
from pylon.signals import let_ends_be_seen


class DataLoader(torch.utils.data.DataLoader[Any]):
    """torch's loader with an epoch seed, which also reaches persistent workers.

    Args:
        dataset: what to load: a BaseDataset, any map-style dataset, or an IterableDataset, whose epoch is
            what it gives when it is opened; given by the runner.
        batch_size: datapoints per batch, at least 1; None only with a `batch_sampler`.
        shuffle: draw the order from the epoch's seed.
        sampler: gives the order in place of `shuffle`: a sampler with a length, or a function that gets the
            dataset and returns one. It is drawn once per epoch, with every generator seeded by the epoch.
        batch_sampler: gives whole batches in place of `batch_size`, in the same way.
        num_workers: processes that load; 0: the calling one.
        drop_last: leave out a last batch that is not full.
        persistent_workers: keep the workers between epochs; None: yes if there are any.
        pin_memory: copy batches to page-locked memory, for a CUDA device.
        prefetch_factor: batches that each worker loads ahead; None: torch's default.
        multiprocessing_context: start method of the workers, 'fork', 'forkserver' or 'spawn'; None:
            the platform's default.
        timeout_s: a batch of a worker that takes longer, more than 0 s, ends the epoch with an error;
            None: there is no limit.
        collate_fn: datapoints, as the dataset gives them, to a batch (see `pylon.data.batch`).

    Raises:
        ValueError: an argument is out of range, or contradicts another one.
        TypeError: the dataset is of no such kind.
    """

    dataset: BaseDataset | MapDataset | StreamDataset

    def __init__(
        self,
        dataset: Any,  # noqa: ANN401 - any dataset
        *,
        batch_size: int | None = None,
        shuffle: bool = False,
        sampler: Any = None,  # noqa: ANN401 - any sampler, or a function
        batch_sampler: Any = None,  # noqa: ANN401 - the same
        num_workers: int = 0,
        drop_last: bool = False,
        persistent_workers: bool | None = None,
        pin_memory: bool = False,
        prefetch_factor: int | None = None,
        multiprocessing_context: str | None = None,
        timeout_s: float | None = None,
        collate_fn: Callable[..., Any] = collate,
    ) -> None:
        if timeout_s is not None and not (timeout_s > 0 and math.isfinite(timeout_s)):
            raise ValueError(f"timeout_s: {timeout_s}, expected more than 0 s, or None")
        orders = {"shuffle": shuffle, "sampler": sampler, "batch_sampler": batch_sampler}
        if is_stream(dataset):
            check_stream_order(orders)
        check_order(batch_size, sampler, batch_sampler, shuffle=shuffle, drop_last=drop_last)
        self.timeout_s = timeout_s
        self._asked: Callable[[], bool] = lambda: False
        self._end: Callable[[], None] = lambda: None
        self._newest: Callable[[], Any] = lambda: None
        loaded = _readable(dataset, num_workers)
        self._name = type(loaded).__name__ if isinstance(loaded, BaseDataset) else loaded.name
        finds = loaded._generators if num_workers == 0 and collate_fn is not collate else None
        if finds is not None:
            finds.keeps_for_collate = True
        collates: Any = FailureAwareCollate(BatchCollate(collate_fn, finds))
        self._order: EpochOrder
        if isinstance(loaded, StreamDataset):
            self._order = StreamTurns(loaded, batch_size or 1, drop_last=drop_last)
            collates = EndAwareCollate(collates)
        elif (batches := order_of("batch_sampler", batch_sampler, dataset)) is not None:
            self._order = EpochBatchSampler(len(loaded), batches)
        else:
            order = order_of("sampler", sampler, dataset)
            # Loader workers have time for it, the training process has not.
            self._order = EpochSampler(
                len(loaded), shuffle=shuffle, order=order, computes_seeds=num_workers == 0
            )
        how: dict[str, Any] = (
            {"batch_size": batch_size, "sampler": self._order, "drop_last": drop_last}
            if isinstance(self._order, EpochSampler)
            else {"batch_sampler": self._order}
        )
        # Whether an epoch has each datapoint of a known number once.
        self.takes_each_once = isinstance(self._order, EpochSampler) and sampler is None and not drop_last
        self._processes = WorkerProcesses()
        self._hand_over = HandOver() if num_workers > 0 else None
        super().__init__(
            loaded,
            **how,
            num_workers=num_workers,
            persistent_workers=num_workers > 0 if persistent_workers is None else persistent_workers,
            pin_memory=pin_memory,
            prefetch_factor=prefetch_factor,
            multiprocessing_context=multiprocessing_context,
            timeout=min(POLL_S, timeout_s or POLL_S) if num_workers > 0 else 0,
            collate_fn=collates,
            worker_init_fn=None
            if self._hand_over is None
            else functools.partial(initialise_worker, self._hand_over.sender),
            # torch draws a base seed per iteration, by default from the global generator: an own one
            # keeps that generator's state independent of how often a loader was iterated.
            generator=torch.Generator(),
        )

    def set_epoch_seed(
        self, seed: int, batches: Sequence[int] | None = None, *, epoch: int | None = None
    ) -> None:
        """Let order and augmentation of the next iterations follow from `seed` alone.

        Args:
            seed: of the epoch.
            batches: which batches of the epoch to load, counted from 0, ascending; None: all. Nothing of
                the others is loaded, and these are those of a whole epoch, to the bit.
            epoch: the number of the epoch, from 0, for a sampler or dataset with a method `set_epoch`; None:
                it is not called.

        Raises:
            ValueError: `seed` is outside 0..2**63 - 1, or `batches` are not ascending numbers of batches.
        """
        self._order.epoch = epoch
        if batches is None:
            self._order.set_epoch_seed(seed)
            return
        if any(later <= former for former, later in itertools.pairwise(batches)):
            raise ValueError(f"batches: {list(batches)[:10]}, expected ascending numbers.")
        if isinstance(self._order, StreamTurns):
            self._order.set_epoch_seed(seed, batches)
            return
        if batches and not 0 <= batches[0] <= batches[-1] < len(self):
            raise ValueError(f"batches: {batches[0]} to {batches[-1]}, expected 0 to {len(self) - 1}.")
        if isinstance(self._order, EpochBatchSampler):
            self._order.set_epoch_seed(seed, batches)
            return
        # Only the epoch's last batch can be short, and ascending it stays the last one: so torch, which
        # cuts the datapoints it gets into batches, finds these batches again.
        size, count = self.batch_size or 1, len(self._order)
        self._order.set_epoch_seed(
            seed, [range(number * size, min((number + 1) * size, count)) for number in batches]
        )

    @property
    def stream(self) -> StreamTurns | None:
        """What is known of an epoch of an IterableDataset; None for any other dataset."""
        return self._order if isinstance(self._order, StreamTurns) else None

    def read_again(self, seed: int, batches: Sequence[int]) -> Iterator[Any]:
        """The datapoints of some batches of an epoch, each as a batch of one, read in this process.

        Those of an IterableDataset come in their batches, by the workers.

        Args:
            seed, batches: see `set_epoch_seed`, which the next iteration needs again.

        Raises:
            DataError: a datapoint cannot be read.
        """
        self.set_epoch_seed(seed, batches)
        dataset, order = self.dataset, self._order
        if isinstance(dataset, StreamDataset) or isinstance(order, StreamTurns):
            return iter(self)
        indices = order if isinstance(order, EpochSampler) else itertools.chain.from_iterable(order)
        return (self.collate_fn([dataset[index]]) for index in indices)

    def end_when(self, asked: Callable[[], bool], end: Callable[[], None]) -> None:
        """Stop waiting for a worker's batch as soon as the end is requested.

        Args:
            asked: whether it is requested; called from any thread.
            end: called then on the thread that waits; it raises what ends the iteration.
        """
        self._asked, self._end = asked, end

    def close(self) -> None:
        """End the workers now, within 3 s and those that hang too. The next iteration starts new ones."""
        kept, self._iterator = self._iterator, None
        for iterator in (kept, self._newest()):
            if iterator is not None:
                end_workers(iterator)
        self._newest = lambda: None
        self._processes.kill()

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # torch names a private class here
        """The epoch's batches.

        Raises:
            DataError: a datapoint cannot be read (its type and text are those of the worker's error), or an
                IterableDataset gives more than its length.
            LoaderWorkerError: a worker died, or a batch took longer than `timeout_s`.
            Exception: whatever the `end` of `end_when` raises.
        """
        self.dataset._begin_epoch(self._order.epoch)
        received = self._received_batches()
        return received if self.stream is None else self.stream.wanted_batches(received)

    def _received_batches(self) -> Iterator[Any]:
        if self.num_workers > 0:
            share_temporary_folder()
            let_ends_be_seen()
        with no_handler_for_deaths(), warnings.catch_warnings():
            # From Python 3.12 on, a fork warns if there is any other thread. Workers do no more than decode
            # and transform, on one thread each; 'forkserver' and 'spawn' are available if needed.
            warnings.filterwarnings(
                "ignore", message=".*fork.*may lead to deadlocks", category=DeprecationWarning
            )
            batches = self._begun()
        if self.num_workers == 0:
            yield from batches
            return
        hide_from_handler(batches)
        if not isinstance(batches._workers_done_event, DoneEvent):
            batches._workers_done_event = DoneEvent(batches._workers_done_event)
        self._processes.take_in(batches._workers)
        self._newest = weakref.ref(batches)
        batch: Any = None
        try:
            with WorkerWatch(batches._workers, self.timeout_s, self._must_end) as watch:
                while (batch := self._receiver(watch, batches).next(batches)) is not None:
                    if isinstance(batch, WorkerFailure):
                        raise batch.error from WorkerTraceback(batch.traceback)
                    yield batch
        except BaseException:  # also an epoch that is left early, as by a request to stop
            if not self.persistent_workers:
                end_workers(batches)
            raise
        finally:
            # The error's traceback holds this frame, and the frame must not hold the error: when torch's
            # iterator is freed with a cycle, it finds its queues closed and waits 5 s for each worker.
            del batch, batches

    def _begun(self) -> Any:  # noqa: ANN401 - torch's iterator, a private class
        kept: Any = self._iterator
        if self.num_workers == 0:
            return super().__iter__()
        with failed_starts_ended(self._name, self.num_workers):
            return self._started() if kept is None else self._begun_again(kept)

    def _begun_again(self, kept: Any) -> Any:  # noqa: ANN401 - torch's iterator, a private class
        try:
            with WorkerWatch(kept._workers, self.timeout_s, self._must_end) as watch:
                return self._receiver(watch, kept).begin_again(kept, super().__iter__)
        except BaseException:
            # Half of an epoch has begun: the next one needs other workers.
            self._iterator = None
            end_workers(kept)
            raise

    def _started(self) -> Any:  # noqa: ANN401 - torch's iterator, a private class
        with signals_held_back(), dead_workers_not_waited_for(self._start_method()):
            return super().__iter__()

    def _get_iterator(self) -> Any:  # noqa: ANN401 - torch's, a private class
        """Called by torch, which has no public way to another class of iterator."""
        if self.num_workers == 0:
            return super()._get_iterator() if self.stream is not None else LocalIterator(self)
        self.check_worker_number_rationality()
        return WorkerIterator(self)

    def _must_end(self) -> bool:
        """Whether a batch must not be waited for longer: another one is lost, or a stop is requested."""
        return self._asked() or (self._hand_over is not None and self._hand_over.failed)

    def _start_method(self) -> str | None:
        context: Any = self.multiprocessing_context or torch.multiprocessing
        name: str | None = context.get_start_method(allow_none=True)
        return name

    def _receiver(self, watch: WorkerWatch, iterator: WorkerIterator) -> BatchReceiver:
        return BatchReceiver(
            self._name,
            self.num_workers,
            watch,
            hand_over=self._hand_over,
            pinning_error=iterator.pinning_error,
            asked=self._asked,
            end=self._end,
        )


def _readable(dataset: Any, num_workers: int) -> BaseDataset | MapDataset | StreamDataset:  # noqa: ANN401
    if isinstance(dataset, BaseDataset):
        return dataset
    return StreamDataset(dataset, num_workers) if is_stream(dataset) else MapDataset(dataset)
