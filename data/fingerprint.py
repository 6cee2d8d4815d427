"""What a dataset lists, in one short text: whether a resumed run trains on the same datapoints."""

import dataclasses
import hashlib
import os
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_LONGEST_NAME = 200
_AS_THEY_ARE = frozenset({type(None), bool, int, float, bytes})


def fingerprint(datapoints: Sequence[Any], root: Path) -> str:
    """The number of datapoints and the first 64 bits of the SHA-256 (FIPS 180-4) of what lists them.

    Numbers, text, paths, and tuples, lists, dicts and dataclasses of them count; of other objects only their
    type, as nothing of them is known to be the same in two processes.

    Args:
        datapoints: what lists them, in order.
        root: folder of the data set; paths inside it count from there, so that it may be moved.
    """
    inside = f"{root}{os.sep}"
    digest = hashlib.sha256()
    for datapoint in datapoints:
        digest.update(repr(_comparable(datapoint, inside)).encode("utf-8", "surrogatepass"))
    return f"{len(datapoints)} datapoints, list {digest.hexdigest()[:16]}"


def _comparable(value: Any, inside: str) -> Any:  # noqa: ANN401 - each dataset has its own
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, str | os.PathLike):
        return os.fsdecode(value).removeprefix(inside)
    elements = _elements(value)
    if elements is None:
        return type(value).__qualname__
    return [_comparable(element, inside) for element in elements]


def _elements(value: object) -> Iterable[Any] | None:
    """What a container holds, None if `value` is none."""
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, dict):
        return value.items()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(one.name, getattr(value, one.name)) for one in dataclasses.fields(value)]
    return None


def shown_annotation(value: object) -> str:
    """One element of a dataset's list for a message: a path or name as it is, else a short form of it."""
    name = value if isinstance(value, str | os.PathLike) else getattr(value, "name", None)
    if isinstance(name, str | os.PathLike):
        return os.fsdecode(name)[:_LONGEST_NAME]
    try:
        return reprlib.repr(value)
    except Exception:  # noqa: BLE001 - a class of the user's, and the error that is on its way matters more
        return type(value).__name__
