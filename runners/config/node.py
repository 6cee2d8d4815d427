"""The one form of everything that is built: {'class': X, 'args': {...}}."""

from collections.abc import Iterator
from typing import Any, TypeGuard

import numpy as np

Node = dict[str, Any]


def is_node(value: object) -> TypeGuard[Node]:
    """Whether `value` is meant to be built: a dict with a 'class' key."""
    return isinstance(value, dict) and "class" in value


def children(value: object) -> Iterator[tuple[str | int, Any]]:
    """Key and value of each element of a dict, list or tuple; nothing for anything else."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)


def unshared(value: Any) -> Any:  # noqa: ANN401 - any configuration value
    """A copy in which no dict or list occurs twice, and NumPy's scalars are Python values.

    A file may use one dict for two entries; changing it in one place must not change the other,
    and `copy.deepcopy` would keep them one. NumPy's scalars come back from `config.json` as Python values:
    with them, the first launch and a resumed one would not compute with the same.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {unshared(key): unshared(element) for key, element in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(unshared(element) for element in value)
    return value
