"""How an error gets from a loader worker to the main process with its own type and text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import get_worker_info

from pylon.data.datapoint import Datapoint
from pylon.data.errors import DataError


@dataclass(frozen=True)
class WorkerFailure:
    """Takes the place of a batch; the loader raises `error` in the main process.

    torch would raise an error of the same type there, but with the worker's traceback as its text.
    """

    error: DataError


class FailureAwareCollate:
    """A collate function that lets failures pass, and turns its own into one.

    Args:
        collate_fn: datapoints to a batch.
    """

    def __init__(self, collate_fn: Callable[[list[Datapoint]], Any]) -> None:
        self.collate_fn = collate_fn

    def __call__(self, datapoints: Sequence[Datapoint | WorkerFailure]) -> Any:  # noqa: ANN401 - any batch
        """The batch, or the first failure among `datapoints`."""
        whole: list[Datapoint] = []
        for datapoint in datapoints:
            if isinstance(datapoint, WorkerFailure):
                return datapoint
            whole.append(datapoint)
        try:
            return self.collate_fn(whole)
        except DataError as error:
            if get_worker_info() is None:
                raise
            return WorkerFailure(error)
