"""What can be wrong with data.

DataError
├── DatasetNotFoundError      the root, or what should lie under it, is absent (a FileNotFoundError too)
├── EmptyDatasetError         there is a data set, and nothing in it counts as a datapoint
├── DatasetDamagedError       a file is unreadable, truncated, or does not fit its pair
├── TransformError            a transform cannot work on a datapoint (a ValueError too)
└── DatasetContractError      a dataset or transform breaks the contract of BaseDataset
LoaderWorkerError             a worker died or hangs, which is no fault of the data: a RuntimeError
"""

from typing import ClassVar


class DataError(Exception):
    """Base of all errors of data; the text is meant for the user as it is."""

    exit_code: ClassVar[int] = 3


class DatasetNotFoundError(DataError, FileNotFoundError):
    """The data set is not in the given folder; the text explains how to get it."""


class EmptyDatasetError(DataError):
    """A data set lists no datapoint; the text names where they were looked for."""


class DatasetDamagedError(DataError):
    """A file of the data set cannot be used; the text names it."""


class TransformError(DataError, ValueError):
    """A transform refused a datapoint; the text names both."""


class DatasetContractError(DataError):
    """A dataset or transform gives something else than it declares; the text names the class."""


class LoaderWorkerError(RuntimeError):
    """A loader worker died or hangs, and a batch is lost with it."""
