"""Datapoints to batches."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pylon.data.datapoint import Datapoint
from pylon.data.errors import DatasetContractError
from pylon.data.nested import elements_of, with_elements

_NUMBERS = (bool, int, float, complex, np.generic)
_ARRAY_KINDS = "biufc"
_PLAIN = frozenset({tuple, list})
_PLAIN_NUMBERS = frozenset({bool, int, float})


def collate(datapoints: Sequence[Datapoint]) -> dict[str, Any]:
    """Stack inputs and labels; give meta_info as one list per key.

    Args:
        datapoints: B of them, with the same names, shapes and dtypes.

    Returns:
        {'inputs': ..., 'labels': ..., 'meta_info': {key: B values}}; see `stack` for the first two. A key of
        meta_info that some datapoint lacks has None there.

    Raises:
        DatasetContractError: the datapoints differ, or hold what cannot be stacked; names place and values.
    """
    known = [datapoint["meta_info"] for datapoint in datapoints]
    keys = dict.fromkeys(itertools.chain.from_iterable(known))
    meta_info = {key: [one.get(key) for one in known] for key in keys}
    idx = meta_info.get("idx", list(range(len(datapoints))))
    return {
        "inputs": stack([datapoint["inputs"] for datapoint in datapoints], "inputs", idx),
        "labels": stack([datapoint["labels"] for datapoint in datapoints], "labels", idx),
        "meta_info": meta_info,
    }


def stack(values: Sequence[Any], place: str, idx: Sequence[Any]) -> Any:  # noqa: ANN401 - any nested value
    """B values of the same structure as one of it, in which each leaf has B rows.

    Tensors and NumPy arrays become a tensor (B, ...) of their dtype; numbers a tensor (B,) of int64, bool or
    torch's default floating-point type; text a list; None stays None if all are None. Dicts, tuples, named
    tuples, lists and dataclasses stay what they are.

    Args:
        values: B of them.
        place: of the values in the batch, for an error.
        idx: of their datapoints, for an error.

    Raises:
        DatasetContractError: the values differ, or one is of another kind.
    """
    first = values[0]
    if isinstance(first, torch.Tensor):
        return _stacked_tensors(values, place, idx)
    if isinstance(first, np.ndarray):
        return _stacked_arrays(values, place, idx)
    if isinstance(first, _NUMBERS):
        return _stacked_numbers(values, place, idx)
    if first is None or isinstance(first, str | bytes):
        _check_alike(values, place, idx, lambda value: value is None if first is None else type(value))
        return None if first is None else list(values)
    return _stacked_containers(values, place, idx)


def _stacked_containers(values: Sequence[Any], place: str, idx: Sequence[Any]) -> Any:  # noqa: ANN401 - any container
    first = values[0]
    # What follows for any container takes several times as long.
    if type(first) is dict and all(type(value) is dict and value.keys() == first.keys() for value in values):
        return {key: stack([value[key] for value in values], f"{place}[{key!r}]", idx) for key in first}
    elements = elements_of(first)
    if elements is None:
        raise _unknown(first, place, idx[0])
    columns = _columns(values, place, idx)
    if not elements:
        return first
    stacked = [stack(column, place + name, idx) for (name, _), column in zip(elements, columns, strict=True)]
    return with_elements(first, stacked)


def _columns(values: Sequence[Any], place: str, idx: Sequence[Any]) -> list[list[Any]]:
    """The elements of B containers of one structure: B of each place."""
    first = values[0]
    kind = type(first)
    if kind in _PLAIN and all(type(value) is kind and len(value) == len(first) for value in values):
        return [list(column) for column in zip(*values, strict=True)]
    _check_alike(values, place, idx, _structure)
    if isinstance(first, Mapping):
        return [[value[key] for value in values] for key in first]
    rows = [[element for _, element in elements_of(value) or ()] for value in values]
    return [list(column) for column in zip(*rows, strict=True)]


def _stacked_tensors(values: Sequence[Any], place: str, idx: Sequence[Any]) -> torch.Tensor:
    dtype = values[0].dtype
    if not all(isinstance(value, torch.Tensor) and value.dtype is dtype for value in values):
        _check_alike(values, place, idx, _is_tensor)
    try:
        return torch.stack(list(values))
    except RuntimeError:
        # Only now: to compare all shapes takes longer than to stack them.
        _check_alike(values, place, idx, _is_tensor)
        raise


def _stacked_arrays(values: Sequence[Any], place: str, idx: Sequence[Any]) -> Any:  # noqa: ANN401 - tensor or list
    _check_alike(values, place, idx, _is_array)
    dtype = values[0].dtype
    if dtype.kind in "US":
        return [value.tolist() for value in values]
    if dtype.kind not in _ARRAY_KINDS:
        raise DatasetContractError(
            f"{place or 'the datapoint'} of datapoint idx={idx[0]} is an array of {dtype}, which torch does "
            "not have. Convert it to numbers of one type, as by values.astype('float32')."
        )
    # torch takes neither the other byte order nor a read-only array: stacking copies into the machine's own.
    return torch.from_numpy(np.stack(values).astype(dtype.newbyteorder("="), copy=False))


def _stacked_numbers(values: Sequence[Any], place: str, idx: Sequence[Any]) -> torch.Tensor:
    kind = type(values[0])
    if kind in _PLAIN_NUMBERS and all(type(value) is kind for value in values):
        return torch.tensor(values)
    _check_alike(values, place, idx, lambda value: isinstance(value, _NUMBERS))
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    _check_alike(plain, place, idx, lambda value: isinstance(value, bool))
    if not all(isinstance(value, bool | int | float | complex) for value in plain):
        raise _unknown(values[0], place, idx[0])
    return torch.tensor(plain)


def _unknown(value: object, place: str, idx: object) -> DatasetContractError:
    return DatasetContractError(
        f"{place or 'the datapoint'} of datapoint idx={idx} is a {type(value).__qualname__}, expected "
        "tensors, NumPy arrays, numbers, text or None, in dicts, lists, tuples or dataclasses. Convert "
        "it, or give the loader a collate_fn."
    )


def _is_tensor(value: object) -> object:
    return (value.shape, value.dtype) if isinstance(value, torch.Tensor) else None


def _is_array(value: object) -> object:
    if not isinstance(value, np.ndarray):
        return None
    return value.shape, "text" if value.dtype.kind in "US" else value.dtype


def _structure(value: object) -> object:
    if isinstance(value, Mapping):
        return set(value)
    elements = elements_of(value)
    return (type(value), [name for name, _ in elements]) if elements is not None else None


def _check_alike(values: Sequence[Any], place: str, idx: Sequence[Any], form: Any) -> None:  # noqa: ANN401 - any form
    expected = form(values[0])
    for number, value in enumerate(values):
        if form(value) != expected:
            raise DatasetContractError(
                f"datapoints idx={idx[0]} and idx={idx[number]} cannot be one batch: "
                f"{place or 'the datapoint'} is {shown(values[0])} next to {shown(value)}. Crop, resize or "
                "pad them to one form, use batch_size=1, or give the loader a collate_fn."
            )


def shown(value: object) -> str:
    """What a value is, for an error."""
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)} {value.dtype}"
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} {value.dtype}"
    if isinstance(value, Mapping):
        return f"a dict with {sorted(map(str, value))}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
