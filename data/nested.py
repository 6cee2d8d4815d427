"""Nested data: dicts, tuples, lists and dataclasses of tensors, arrays, numbers, text and None."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

TensorMap = Callable[[torch.Tensor], torch.Tensor]


def is_namedtuple(value: object) -> bool:
    """Whether `value` is a tuple with named fields."""
    return isinstance(value, tuple) and hasattr(value, "_fields")


def with_elements(container: Any, elements: list[Any]) -> Any:  # noqa: ANN401 - any container
    """A container like `container` with other elements, in the order of `elements_of`."""
    if isinstance(container, Mapping):
        return dict(zip(container, elements, strict=True))
    if dataclasses.is_dataclass(container):
        made = copy.copy(container)
        for field, element in zip(dataclasses.fields(container), elements, strict=True):
            object.__setattr__(made, field.name, element)
        return made
    if is_namedtuple(container):
        return type(container)(*elements)
    return tuple(elements) if isinstance(container, tuple) else elements


def elements_of(value: object) -> list[tuple[str, Any]] | None:
    """Place and value of each element of a container, such as "['image']"; None if `value` is none."""
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", element) for key, element in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    if is_namedtuple(value):
        return [(f".{name}", element) for name, element in zip(value._fields, value, strict=True)]  # type: ignore[attr-defined, call-overload]
    if isinstance(value, list | tuple):
        return [(f"[{number}]", element) for number, element in enumerate(value)]
    return None


def map_tensors(value: Any, change: TensorMap) -> Any:  # noqa: ANN401 - any nested value
    """The same structure with `change` applied to each tensor in it."""
    if isinstance(value, torch.Tensor):
        return change(value)
    # What follows for any container takes several times as long.
    if type(value) is dict:
        return {key: map_tensors(element, change) for key, element in value.items()}
    elements = elements_of(value)
    if elements is None:
        return value
    return with_elements(value, [map_tensors(element, change) for _, element in elements])


def tensors_of(value: object, place: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Each tensor in a nested value, with its place in it, such as "inputs['image']"."""
    if isinstance(value, torch.Tensor):
        yield place, value
        return
    for name, element in elements_of(value) or ():
        yield from tensors_of(element, place + name)
