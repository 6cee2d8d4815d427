"""The base of all datasets: splits, subsets, seeding, transforms, and the checks that keep them honest."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.utils.data import Dataset

from pylon.data.cache import Arrays, SharedImageCache
from pylon.data.datapoint import Datapoint
from pylon.data.decoded_copy import DecodedCopy
from pylon.data.epoch_number import EpochNumber
from pylon.data.errors import (
    DataError,
    DatasetContractError,
    DatasetDamagedError,
    DatasetNotFoundError,
    TransformError,
)
from pylon.data.fingerprint import fingerprint, shown_annotation
from pylon.data.global_generators import GlobalGenerators
from pylon.data.located import raise_located
from pylon.data.own_generators import OwnGenerators
from pylon.data.seeding import SeededIndex, seed_being_read
from pylon.data.transforms.transform import Transform
from pylon.data.worker_failure import WorkerFailure, read_batch
from pylon.storage import with_home

_DECLARED = ("SPLITS", "INPUT_NAMES", "LABEL_NAMES")


class BaseDataset(Dataset[Datapoint], ABC):
    """A dataset lists its datapoints (`_list_datapoints`) and reads one (`_load_datapoint`).

    Inputs and labels may be anything that `collate` stacks. What is random about a datapoint follows from
    the epoch's seed and its index alone, never from the worker that reads it or from the order.

    Args:
        data_root: folder of the data set.
        split: one of the class's SPLITS.
        indices: a subset of the split, by position; None: all of it. The subset counts from 0.
        transforms: applied to every datapoint, with a generator seeded for it.
        seed: of datapoints that are read by a plain index; a loader brings the epoch's seed, also to a
            dataset that another one reads from.
        cache: keeps decoded images, in memory for all workers or on the disk for all runs; None: in the
            folder that $PYLON_DECODED names; if that is not set, every access decodes.

    Raises:
        ValueError: split or indices are not of this dataset.
        DataError: the data set is absent or damaged.
    """

    SPLITS: ClassVar[tuple[str, ...]]
    INPUT_NAMES: ClassVar[tuple[str, ...]]
    LABEL_NAMES: ClassVar[tuple[str, ...]]
    CLASS_NAMES: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        *,
        indices: Sequence[int] | None = None,
        transforms: Transform | None = None,
        seed: int = 0,
        cache: SharedImageCache | DecodedCopy | None = None,
    ) -> None:
        undeclared = [name for name in _DECLARED if not hasattr(self, name)]
        if undeclared:
            raise DatasetContractError(
                f"{type(self).__name__} does not declare {', '.join(undeclared)}: give the class a tuple of "
                "names for each, as in INPUT_NAMES = ('image',)."
            )
        if split not in self.SPLITS:
            raise ValueError(f"split: {split!r}, but {type(self).__name__} has {', '.join(self.SPLITS)}.")
        self.data_root = with_home(data_root)
        self.split = split
        self.transforms = transforms
        self.seed = seed
        self._cache = DecodedCopy.of_environment() if cache is None else cache
        self._generators = GlobalGenerators()
        self._own = OwnGenerators()
        self._number = EpochNumber()
        self._datapoints = _subset(self._listed(), indices)

    @abstractmethod
    def _list_datapoints(self) -> Sequence[Any]:
        """One different value per datapoint of the split, in a fixed order; handed to `_load_datapoint`."""

    @abstractmethod
    def _load_datapoint(
        self,
        annotation: Any,  # noqa: ANN401 - each dataset has its own
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Inputs, labels and meta_info of one element of `_list_datapoints`; without `idx`."""

    def _listed(self) -> Sequence[Any]:
        try:
            return self._list_datapoints()
        except DataError:
            raise
        except (FileNotFoundError, NotADirectoryError) as error:
            if self.data_root.exists():
                raise
            raise DatasetNotFoundError(
                f"{type(self).__name__} of split {self.split!r}: data_root {self.data_root.absolute()} does "
                f"not exist. Give the folder of the data. ({error})"
            ) from error

    def __len__(self) -> int:
        """Number of datapoints."""
        return len(self._datapoints)

    def fingerprint(self) -> str:
        """What the dataset lists, in one short text that is the same as long as the list is."""
        return fingerprint(self._datapoints, self.data_root)

    def __getitem__(self, index: int | SeededIndex) -> Datapoint:
        """One datapoint, loaded, checked and transformed.

        Raises:
            IndexError: there is no such datapoint.
            DataError: it cannot be read, or breaks the contract.
            Exception: what the class or its transforms raise; a note names the datapoint.
        """
        seeded = self._seeded(index)
        if not 0 <= seeded.index < len(self):
            raise IndexError(
                f"index {seeded.index} is outside {type(self).__name__} of {len(self)} datapoints"
            )
        seed = seeded.datapoint_seed
        try:
            return self._generators.load(seed, lambda: self._loaded(seeded.index, seed))
        except (DatasetDamagedError, TransformError):
            raise  # these name the file, or the datapoint
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again with its place
            annotation = shown_annotation(self._datapoints[seeded.index])
            raise_located(
                error, f"datapoint {seeded.index} ({annotation}) of {type(self).__name__} {self.split!r}"
            )

    def _loaded(self, index: int, seed: int) -> Datapoint:
        loaded = self._own.load(self, seed, lambda: self._load_datapoint(self._datapoints[index]))
        self._check_parts(loaded)
        inputs, labels, meta_info = loaded
        self._check(inputs, labels, meta_info)
        datapoint: Datapoint = {"inputs": inputs, "labels": labels, "meta_info": {"idx": index, **meta_info}}
        return datapoint if self.transforms is None else self._transformed(datapoint, seed)

    def _begin_epoch(self, epoch: int | None) -> None:
        """Give its number to a dataset that asks for it by `set_epoch`; None: it is not known."""
        self._number.give(self, epoch)

    def __getitems__(self, indices: Sequence[int | SeededIndex]) -> list[Datapoint | WorkerFailure]:
        """The datapoints of one batch, for torch's fetcher: see `read_batch`."""
        seeded = [self._seeded(index).computed() for index in indices]
        self._number.catch_up(self, seeded[0].epoch)
        return self._generators.batch(self, lambda: read_batch(self.__getitem__, seeded))

    def _seeded(self, index: int | SeededIndex) -> SeededIndex:
        if isinstance(index, SeededIndex):
            return index
        # Read by another dataset, such as ConcatDataset or Subset, what is random follows from its epoch.
        outer = seed_being_read.get()
        return SeededIndex(index, self.seed if outer is None else outer)

    def cached_images(
        self, key: str, load: Callable[[], Arrays], *, files: Sequence[Path] = (), reading: str = ""
    ) -> Arrays:
        """`load()`, or what it gave before in this or another worker. The arrays are read-only.

        Args:
            key: unique to these images in the cache: the path of a file of theirs.
            load: decodes them.
            files: all files that `load` reads, by whose content a DecodedCopy finds them; without, it keeps
                nothing.
            reading: what else the images depend on, such as an argument of the dataset; for a DecodedCopy.
        """
        if self._cache is None:
            return load()
        if isinstance(self._cache, DecodedCopy):
            return self._cache.arrays(files, reading, type(self), load)
        found = self._cache.get(key)
        if found is None:
            found = load()
            self._cache.put(key, found)
        return found

    def _transformed(self, datapoint: Datapoint, seed: int) -> Datapoint:
        idx, transforms = datapoint["meta_info"]["idx"], self.transforms
        if transforms is None:
            return datapoint
        try:
            result = transforms(datapoint, torch.Generator().manual_seed(seed))
        except ValueError as error:
            raise TransformError(
                f"{error} (datapoint idx={idx} of {type(self).__name__} {self.split!r}, "
                f"{datapoint['meta_info']})"
            ) from error
        if not isinstance(result, dict) or result.get("meta_info", {}).get("idx") != idx:
            raise DatasetContractError(
                f"{type(transforms).__name__} gives {type(result).__name__} without inputs, labels and the "
                f"meta_info['idx']={idx} that it got; a transform returns a whole datapoint."
            )
        return result

    def _check_parts(self, loaded: object) -> None:
        if not isinstance(loaded, tuple) or len(loaded) != 3 or not all(isinstance(p, dict) for p in loaded):
            seen = (
                f"({', '.join(type(part).__name__ for part in loaded)})"
                if isinstance(loaded, tuple)
                else type(loaded).__name__
            )
            raise DatasetContractError(
                f"{type(self).__name__}._load_datapoint gives {seen}, expected three dicts: inputs, labels "
                "and meta_info ({} if nothing else is known)."
            )

    def _check(self, inputs: dict[str, Any], labels: dict[str, Any], meta_info: dict[str, Any]) -> None:
        """Refuse a datapoint that is not as the class declares it."""
        name = type(self).__name__
        if "idx" in meta_info:
            raise DatasetContractError(
                f"{name}._load_datapoint gives meta_info['idx']={meta_info['idx']!r}. BaseDataset adds `idx` "
                "itself, so that scores find their datapoint: leave it out."
            )
        for what, given, declaration in (
            ("inputs", inputs, "INPUT_NAMES"),
            ("labels", labels, "LABEL_NAMES"),
        ):
            declared = getattr(self, declaration)
            if given.keys() != set(declared):
                raise DatasetContractError(
                    f"{name}._load_datapoint gives {what} {sorted(given)}, "
                    f"but the class declares {sorted(declared)}. Give these, or change {declaration}."
                )


def _subset(datapoints: Sequence[Any], indices: Sequence[int] | None) -> Sequence[Any]:
    if indices is None or not datapoints:
        return datapoints  # an empty list is reported as such, and not as wrong indices
    if not indices:
        raise ValueError("indices: [], expected at least one position, or None for the whole split.")
    outside = [index for index in indices if not 0 <= index < len(datapoints)]
    if outside:
        raise ValueError(f"indices: {outside[:20]}, expected positions from 0 to {len(datapoints) - 1}.")
    if len(set(indices)) < len(indices):
        twice = sorted(index for index, count in Counter(indices).items() if count > 1)
        raise ValueError(f"indices: {twice[:20]} are there more than once, expected different positions.")
    return [datapoints[index] for index in indices]
