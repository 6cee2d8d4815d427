"""What a user's dataset or collate function raises or gives wrongly: with its place, as errors to be read."""

import errno
from collections.abc import Sequence, Sized
from typing import Any, NoReturn

from pylon.data.errors import DataError, DatasetContractError, DatasetDamagedError

_LISTED = 8
# The machine has run out of something: the file may be whole.
_OF_THE_MACHINE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def listed(values: Sequence[Any]) -> str:
    """The first of them as text, such as the datapoints of a batch."""
    return ", ".join(map(str, values[:_LISTED])) + (", ..." if len(values) > _LISTED else "")


def raise_located(error: BaseException, place: str) -> NoReturn:
    """Raise an error again, with its place.

    SystemExit would end a loader worker without a message, and StopIteration an epoch too early.

    Args:
        error: what was raised.
        place: where, as in 'datapoint 3 of Rows'.

    Raises:
        DataError: names the place: what cannot be read, or what would end more than the run.
        BaseException: `error` itself, with a note that names the place.
    """
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, OSError) and not isinstance(error, DataError) and error.errno not in _OF_THE_MACHINE:
        raise DatasetDamagedError(f"{place} cannot be read: {text}") from error
    if isinstance(error, SystemExit | StopIteration):
        raise DatasetContractError(
            f"{place} raises {text}, which would end more than this run can notice. Raise another error, or "
            "leave the datapoint out of the dataset's list."
        ) from error
    error.add_note(f"at {place}")
    raise error


def length_of(dataset: Sized) -> int:
    """Number of datapoints. Raises DatasetContractError if `__len__` gives something else."""
    try:
        return len(dataset)
    except (TypeError, ValueError) as error:
        raise DatasetContractError(
            f"{type(dataset).__name__}.__len__ gives no number of datapoints ({error}), expected one."
        ) from error
