"""torch's IterableDataset: an epoch is what it gives when it is opened, in batches, until it ends.

StreamTurns ── Turn ──> worker: StreamDataset ── datapoints, or the end ──> collate ──> wanted_batches
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

from pylon.data.batch import Item
from pylon.data.epoch_number import EpochNumber
from pylon.data.errors import DataError, DatasetContractError
from pylon.data.global_generators import GlobalGenerators
from pylon.data.located import raise_located
from pylon.data.nested import elements_of
from pylon.data.own_generators import OwnGenerators
from pylon.data.sampler import checked_seed
from pylon.data.seeding import datapoint_seed
from pylon.data.worker_failure import WorkerFailure, read_batch

# The order of an epoch has generators of its own: no datapoint has this index.
_OPENING = -1
_TEXT_AND_NUMBERS = (str, bytes, bool, int, float, complex, np.generic, np.ndarray, type(None))


class StreamEnd:
    """Takes the place of a batch once the part of a worker has ended."""


@dataclass(frozen=True)
class Turn:
    """What a worker gets for a batch, in place of indices.

    Attributes:
        iteration: which iteration of the loader it belongs to; with another one, the dataset is opened again.
        seed: of the epoch.
        size: datapoints of the batch.
        drop_last: leave out a last batch that is not full.
        alike: seed each worker alike, to compare what they give.
        epoch: the number of the epoch, if it is known.
    """

    iteration: int
    seed: int
    size: int
    drop_last: bool
    alike: bool = False
    epoch: int | None = None


class StreamDataset(Dataset[Item]):
    """Reads an IterableDataset batch by batch, with every generator seeded for each datapoint.

    Until its first datapoint, a dataset draws the same in each worker: an order that it shuffles there can
    be shared out by `get_worker_info`. The index of a datapoint counts over all workers in turn.

    Args:
        dataset: an IterableDataset.
        workers: processes that read it, each what its own `__iter__` gives there.
    """

    def __init__(self, dataset: IterableDataset[Any], workers: int) -> None:
        self.dataset = dataset
        self.workers = max(workers, 1)
        self._generators = GlobalGenerators(once=True)
        self._own = OwnGenerators()
        self._number = EpochNumber()
        self._turn: Turn | None = None
        self._datapoints: Iterator[Any] | None = None
        self._drawn = 0

    @property
    def name(self) -> str:
        """The class of what it reads, for messages."""
        return type(self.dataset).__name__

    @property
    def length(self) -> int | None:
        """Number of datapoints, None if the dataset does not know it."""
        try:
            return len(self.dataset)  # type: ignore[arg-type]  # some have a length
        except TypeError:
            return None

    def fingerprint(self) -> str:
        """What the dataset itself calls so, or its length; and how many processes read it."""
        own = getattr(self.dataset, "fingerprint", None)
        known = "datapoints" if self.length is None else f"{self.length} datapoints"
        what = str(own()) if callable(own) else f"{known} of {self.name}"
        return what if self.workers == 1 else f"{what}, read by {self.workers} workers"

    def _begin_epoch(self, epoch: int | None) -> None:
        """Give its number to a dataset that asks for it by `set_epoch`; None: it is not known."""
        self._number.give(self.dataset, epoch)

    def __getitems__(self, turn: Turn) -> list[Item | WorkerFailure | StreamEnd]:
        """The next datapoints, for torch's fetcher; a single StreamEnd after the last ones."""
        if self._turn is None or turn.iteration != self._turn.iteration:
            self._datapoints, self._drawn = None, 0
            self._number.catch_up(self.dataset, turn.epoch)
        self._turn = turn
        drawn = self._generators.batch(self, lambda: read_batch(lambda _: self._next(turn), range(turn.size)))
        found: list[Any] = [one for one in drawn if not isinstance(one, StreamEnd)]
        whole = len(found) == turn.size or isinstance(drawn[-1], WorkerFailure)
        return found if whole or (found and not turn.drop_last) else [StreamEnd()]

    def _next(self, turn: Turn) -> Item | StreamEnd:
        worker = get_worker_info()
        own = 0 if worker is None else worker.id
        index = self._drawn * self.workers + own
        drawn = _OPENING if self._drawn == 0 else self._drawn if turn.alike else index
        seed = datapoint_seed(turn.seed, drawn)
        try:
            value = self._generators.load(seed, lambda: self._read(seed))
        except StopIteration:
            self._datapoints = iter(())  # some begin again when they are asked once more
            return StreamEnd()
        except DataError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again with its place
            raise_located(error, f"datapoint {index} of {self.name}")
        self._drawn += 1
        return Item(index, value)

    def _read(self, seed: int) -> Any:  # noqa: ANN401 - whatever the dataset gives
        if self._datapoints is None:
            return self._own.load(self.dataset, seed, self._opened)
        self._own.seed(self.dataset, seed)
        return next(self._datapoints)

    def _opened(self) -> Any:  # noqa: ANN401 - whatever the dataset gives
        self._datapoints = iter(self.dataset)
        return next(self._datapoints)


class StreamTurns(Sampler[Turn]):
    """Turns without an end, with the epoch's seed: the loader stops when the stream has ended.

    Args:
        dataset: what is read.
        batch_size: datapoints of a batch.
        drop_last: leave out a last batch that is not full.

    Attributes:
        epoch: the number of the epoch that is iterated next, None if it is not known.
    """

    def __init__(self, dataset: StreamDataset, batch_size: int, *, drop_last: bool) -> None:
        self._dataset = dataset
        self._size = batch_size
        self._drop_last = drop_last
        self._seed = 0
        self.epoch: int | None = None
        self._wanted: Sequence[int] | None = None
        self._iteration = 0
        self.alike = False

    def set_epoch_seed(self, seed: int, batches: Sequence[int] | None = None) -> None:
        """Let the next iterations follow from `seed`.

        Args:
            seed: of the epoch.
            batches: the numbers of those that are wanted, ascending; None: all. The others are read too.

        Raises:
            ValueError: `seed` is outside 0..2**63 - 1.
        """
        self._seed, self._wanted = checked_seed(seed), batches

    def __iter__(self) -> Iterator[Turn]:
        """The turns of one iteration."""
        self._iteration += 1
        return itertools.repeat(
            Turn(self._iteration, self._seed, self._size, self._drop_last, self.alike, self.epoch)
        )

    @property
    def most(self) -> int | None:
        """The batches of an epoch, or the most that there can be with several workers; None if unknown."""
        length = self._dataset.length
        if length is None:
            return None
        return (
            length // self._size if self._drop_last else -(-length // self._size) + self._dataset.workers - 1
        )

    def __len__(self) -> int:
        """See `most`. Raises TypeError if that is unknown."""
        most = self.most
        if most is None:
            raise TypeError(f"{self._dataset.name} has no length")
        return most

    def wanted_batches(self, received: Iterator[Any]) -> Iterator[Any]:
        """The batches that are wanted, of those that the workers give in turn.

        Raises:
            DatasetContractError: there are more datapoints than the dataset's length.
        """
        wanted = None if self._wanted is None else frozenset(self._wanted)
        length, number, count, ended = self._dataset.length, 0, 0, 0
        last = None if wanted is None else max(wanted, default=-1)
        while (last is None or number <= last) and ended < self._dataset.workers:
            batch = next(received)
            if isinstance(batch, StreamEnd):
                ended += 1
                continue
            ended, count = 0, count + len(batch["meta_info"]["idx"])
            if length is not None and count > length:
                raise DatasetContractError(self._too_many(length))
            if wanted is None or number in wanted:
                yield batch
            number += 1

    def _too_many(self, length: int) -> str:
        name, workers = self._dataset.name, self._dataset.workers
        fix = "Let __len__ be what __iter__ gives."
        if workers > 1:
            fix = (
                f"Each of its {workers} workers reads what __iter__ gives there: let it give a part by "
                "torch.utils.data.get_worker_info(), or use num_workers 0 or 1."
            )
        return f"{name} gives more datapoints in an epoch than its length, {length}. {fix}"


class EndAwareCollate:
    """A collate function that lets the end of a stream pass.

    Args:
        collate_fn: datapoints to a batch.
    """

    def __init__(self, collate_fn: Callable[[Sequence[Any]], Any]) -> None:
        self.collate_fn = collate_fn

    def __call__(self, datapoints: Sequence[Any]) -> Any:  # noqa: ANN401 - any batch
        """The batch, or the end."""
        return datapoints[0] if isinstance(datapoints[0], StreamEnd) else self.collate_fn(datapoints)


def is_stream(dataset: object) -> bool:
    """Whether a dataset is read from its beginning to its end, and not by index."""
    return isinstance(dataset, IterableDataset)


def digest_of(batch: dict[str, Any]) -> str:
    """The SHA-256 (FIPS 180-4) of a batch's inputs and labels: the same for the same numbers and texts.

    Of what has neither, such as a sparse tensor or an object of a class of one's own, only the class counts.
    """
    digest = hashlib.sha256()

    def add(value: object) -> None:
        if isinstance(value, torch.Tensor):
            # A nested tensor has a new name for its ragged length each time.
            shape = "" if value.is_nested else str(tuple(value.shape))
            digest.update(f"{value.dtype} {shape}".encode() + _content(value))
            return
        elements = elements_of(value)
        if elements is None:
            # The text of any other object may hold its address.
            shown = repr(value) if isinstance(value, _TEXT_AND_NUMBERS) else type(value).__qualname__
            digest.update(shown.encode("utf-8", "surrogatepass"))
        for name, element in elements or ():
            digest.update(name.encode("utf-8", "surrogatepass"))
            add(element)

    add([batch["inputs"], batch["labels"]])
    return digest.hexdigest()


def _content(tensor: torch.Tensor) -> bytes:
    try:
        return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    except Exception:  # noqa: BLE001 - a sparse or nested tensor, and a user's own may raise anything
        return b""
