"""Data: datapoint -> dataset -> transforms -> sampler and loader; `change_detection/` has the data sets."""

from pylon import require_namespace as _require_namespace
from pylon.data.cache import SharedImageCache
from pylon.data.collate import collate
from pylon.data.datapoint import IGNORE_INDEX, Datapoint
from pylon.data.dataset import BaseDataset
from pylon.data.decoded_copy import DecodedCopy
from pylon.data.emptiness import refuse_empty
from pylon.data.errors import (
    DataError,
    DatasetContractError,
    DatasetDamagedError,
    DatasetNotFoundError,
    EmptyDatasetError,
    LoaderWorkerError,
    TransformError,
)
from pylon.data.held_generators import Generator, named_generators
from pylon.data.loader import DataLoader
from pylon.data.located import listed
from pylon.data.map_dataset import MapDataset, why_not_map_style
from pylon.data.nested import is_namedtuple, map_tensors, tensors_of
from pylon.data.seeding import SeededIndex
from pylon.data.stream import StreamDataset, digest_of
from pylon.data.worker_failure import WorkerTraceback

__all__ = [
    "IGNORE_INDEX",
    "BaseDataset",
    "DataError",
    "DataLoader",
    "Datapoint",
    "DatasetContractError",
    "DatasetDamagedError",
    "DatasetNotFoundError",
    "DecodedCopy",
    "EmptyDatasetError",
    "Generator",
    "LoaderWorkerError",
    "MapDataset",
    "SeededIndex",
    "SharedImageCache",
    "StreamDataset",
    "TransformError",
    "WorkerTraceback",
    "collate",
    "digest_of",
    "is_namedtuple",
    "listed",
    "map_tensors",
    "named_generators",
    "refuse_empty",
    "tensors_of",
    "why_not_map_style",
]

_require_namespace(__name__)
