"""The one form of everything that is built: {'class': X, 'args': {...}}; X is a class or a function.

A function that is handed over as it is, and not called, is a value of its own; JSON has {'function': NAME}.
"""

from collections.abc import Iterator
from types import FunctionType
from typing import Any, TypeGuard

import numpy as np

Node = dict[str, Any]


def is_node(value: object) -> TypeGuard[Node]:
    """Whether `value` is meant to be built: a dict with a 'class' key."""
    return isinstance(value, dict) and "class" in value


def is_named_function(value: object) -> TypeGuard[Node]:
    """Whether `value` is the form that a function has in JSON."""
    return isinstance(value, dict) and value.keys() == {"function"} and isinstance(value["function"], str)


def why_not_found(value: object) -> str | None:
    """Why another process would not find a class or function by its name; None if it does, or is neither."""
    if not isinstance(value, type | FunctionType):
        return None
    name = value.__qualname__
    if "<lambda>" in name:
        return "is a lambda, which no other process finds: define it by def, in the file or in a module"
    if "<locals>" in name:
        return "is defined inside a function, where no other process finds it: move it out of the function"
    return None


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
