"""Data: datapoint -> dataset -> transforms -> sampler and loader; `change_detection/` has the data sets."""

from data.cache import SharedImageCache
from data.collate import collate
from data.datapoint import IGNORE_INDEX, Datapoint
from data.dataset import BaseDataset
from data.errors import (
    DataError,
    DatasetContractError,
    DatasetDamagedError,
    DatasetNotFoundError,
    LoaderWorkerError,
    TransformError,
)
from data.loader import DataLoader
from data.seeding import SeededIndex

__all__ = [
    "IGNORE_INDEX",
    "BaseDataset",
    "DataError",
    "DataLoader",
    "Datapoint",
    "DatasetContractError",
    "DatasetDamagedError",
    "DatasetNotFoundError",
    "LoaderWorkerError",
    "SeededIndex",
    "SharedImageCache",
    "TransformError",
    "collate",
]
