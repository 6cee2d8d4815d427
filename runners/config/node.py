"""The one form of everything that is built: {'class': X, 'args': {...}}."""

from collections.abc import Iterator
from typing import Any, TypeGuard

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
    """A copy in which no dict or list occurs twice.

    A file may use one dict for two entries; changing it in one place must not change the other,
    and `copy.deepcopy` would keep them one.
    """
    if isinstance(value, dict):
        return {key: unshared(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(unshared(element) for element in value)
    return value
