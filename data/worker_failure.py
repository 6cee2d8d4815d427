"""How an error gets from a loader worker to the main process with its own type and text."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from torch.utils.data import get_worker_info

from pylon.data.errors import DataError

Index = TypeVar("Index")
Datapoint = TypeVar("Datapoint")


class WorkerTraceback(Exception):  # noqa: N818 - the cause of an error, and none itself
    """The traceback of an error in a loader worker, as text: the cause of that error in the main process."""


@dataclass(frozen=True)
class WorkerFailure:
    """Takes the place of a batch; the loader raises `error` in the main process.

    torch would raise an error of the same type there, but with the worker's traceback as its text.

    Attributes:
        error: its type, text and notes survive; its traceback and cause do not.
        traceback: as text, with that of the error's cause.
    """

    error: DataError
    traceback: str

    @classmethod
    def of(cls, error: DataError) -> Self:
        """The failure for an error that has been caught."""
        shown = error if error.__cause__ is None else error.__cause__
        return cls(error, "".join(traceback.format_exception(shown)))


def read_batch(
    read: Callable[[Index], Datapoint], indices: Sequence[Index]
) -> list[Datapoint | WorkerFailure]:
    """The datapoints of one batch.

    In a loader worker a DataError takes the place of the batch, for the loader to raise in the main
    process, where its type and text survive.

    Args:
        read: gives the datapoint of an index.
        indices: of the batch.
    """
    try:
        return [read(index) for index in indices]
    except DataError as error:
        if get_worker_info() is None:
            raise
        return [WorkerFailure.of(error)]


class FailureAwareCollate:
    """A collate function that lets failures pass, and turns its own into one.

    Args:
        collate_fn: datapoints to a batch.
    """

    def __init__(self, collate_fn: Callable[[list[Any]], Any]) -> None:
        self.collate_fn = collate_fn

    def __call__(self, datapoints: Sequence[Any]) -> Any:  # noqa: ANN401 - any batch
        """The batch, or the first failure among `datapoints`."""
        whole: list[Any] = []
        for datapoint in datapoints:
            if isinstance(datapoint, WorkerFailure):
                return datapoint
            whole.append(datapoint)
        try:
            return self.collate_fn(whole)
        except DataError as error:
            if get_worker_info() is None:
                raise
            return WorkerFailure.of(error)
