"""Any map-style dataset of torch's kind, with each datapoint seeded as those of BaseDataset are."""

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from pylon.data.batch import Item
from pylon.data.epoch_number import EpochNumber
from pylon.data.errors import DataError
from pylon.data.global_generators import GlobalGenerators
from pylon.data.located import length_of, raise_located
from pylon.data.own_generators import OwnGenerators
from pylon.data.seeding import SeededIndex
from pylon.data.worker_failure import WorkerFailure, read_batch


class MapDataset(Dataset[Item]):
    """Reads `dataset[index]`, with every generator that it may draw from seeded for this datapoint.

    These are the global generators of Python, NumPy and torch, and those that the dataset or what it holds,
    such as its transforms, has as an attribute.

    Args:
        dataset: has `__getitem__` and `__len__`.

    Raises:
        TypeError: it has not.
    """

    def __init__(self, dataset: Any) -> None:  # noqa: ANN401 - any dataset
        if problem := why_not_map_style(type(dataset)):
            raise TypeError(f"dataset: {type(dataset).__name__}, {problem}")
        self.dataset = dataset
        self._generators = GlobalGenerators()
        self._own = OwnGenerators()
        self._number = EpochNumber()

    @property
    def name(self) -> str:
        """The class of what it reads, for messages."""
        return type(self.dataset).__name__

    def __len__(self) -> int:
        """Number of datapoints. Raises DatasetContractError if the dataset gives none."""
        return length_of(self.dataset)

    def fingerprint(self) -> str:
        """What the dataset itself calls so, or the number of its datapoints."""
        own = getattr(self.dataset, "fingerprint", None)
        return str(own()) if callable(own) else f"{len(self)} datapoints of {self.name}"

    def __getitem__(self, index: SeededIndex) -> Item:
        """One datapoint."""
        seed = index.datapoint_seed
        try:
            return Item(index.index, self._generators.load(seed, lambda: self._loaded(index.index, seed)))
        except DataError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again with its place
            raise_located(error, f"datapoint {index.index} of {self.name}")

    def _begin_epoch(self, epoch: int | None) -> None:
        """Give its number to a dataset that asks for it by `set_epoch`; None: it is not known."""
        self._number.give(self.dataset, epoch)

    def __getitems__(self, indices: Sequence[SeededIndex]) -> list[Item | WorkerFailure]:
        """The datapoints of one batch, for torch's fetcher: see `read_batch`."""
        seeded = [index.computed() for index in indices]
        self._number.catch_up(self.dataset, seeded[0].epoch)
        return self._generators.batch(self, lambda: read_batch(self.__getitem__, seeded))

    def _loaded(self, index: int, seed: int) -> Any:  # noqa: ANN401 - whatever the dataset gives
        return self._own.load(self.dataset, seed, lambda: self.dataset[index])


def why_not_map_style(cls: type) -> str:
    """What was expected in place of a class that is no map-style dataset; '' if it is one."""
    # torch's Dataset has a __getitem__ that raises NotImplementedError.
    if getattr(cls, "__getitem__", None) in {None, Dataset.__getitem__} or not hasattr(cls, "__len__"):
        return "expected a dataset with __getitem__(index) and __len__(), or torch's IterableDataset"
    return ""
