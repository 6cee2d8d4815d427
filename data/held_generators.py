"""Search for the generators of Python, NumPy and torch that an object holds, wherever in it.

Objects are the user's, of any kind: what one raises when it is looked at ends the search in it, and no code
of its class is asked for.
"""

import random
import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

_DEPTH = 6
# A long list is one of datapoints.
_LONGEST = 200
# Objects that are looked into: some hold very many.
_MOST = 100_000

Generator = random.Random | np.random.RandomState | np.random.Generator | torch.Generator

# What holds none.
_WITHOUT = (
    type, types.NoneType, types.ModuleType, types.CodeType, torch.Tensor, torch.Size, torch.dtype,
    torch.device, np.ndarray, np.generic, str, bytes, int, float, complex,
)  # fmt: skip
# Attributes of torch's own: weights, children, hooks.
_OF_A_MODULE = frozenset(torch.nn.Module().__dict__)
# Parameters and their states.
_OF_AN_OPTIMIZER = frozenset({"state", "param_groups", "defaults"})


def named_generators(owners: Mapping[str, object], *, without: tuple[type, ...] = ()) -> dict[str, Any]:
    """The generators that are reached by the attributes of `owners` and of their classes.

    Args:
        owners: hold them, by name, up to six objects deep; the modules of a module count as one.
        without: classes of objects that are not looked into.

    Returns:
        Each by the first of its places, such as 'criterion.noise.rng', which is the same in each process.
    """
    search = _Search((*_WITHOUT, *without))
    for name, owner in owners.items():
        search.visit(owner, name, _DEPTH)
    return search.found


class _OfClass(NamedTuple):
    """What instances of a class have besides their `__dict__`: slots, and generators of the class itself."""

    slots: list[tuple[str, Any]]
    generators: list[tuple[str, Any]]


class _Search:
    def __init__(self, without: tuple[type, ...]) -> None:
        self.found: dict[str, Any] = {}
        self._without = without
        self._known: set[int] = set()
        # How deep was looked into each object.
        self._seen: dict[int, int] = {}
        self._classes: dict[type, _OfClass] = {}

    def visit(self, value: object, place: str, depth: int) -> None:
        # isinstance would ask the object, which may stand for another.
        kind = type(value)
        if depth == 0 or issubclass(kind, self._without):
            return
        if issubclass(kind, Generator):
            if id(value) not in self._known:
                self._known.add(id(value))
                self.found[place] = value
            return
        if self._seen.get(id(value), 0) >= depth or len(self._seen) >= _MOST:
            return
        self._seen[id(value)] = depth
        for name, element, further in self._inside(value, kind):
            self.visit(element, place + name, depth - further)

    def _inside(self, value: object, kind: type) -> list[tuple[str, Any, int]]:
        """Name, value, and how much further each element is."""
        try:
            return list(self._elements(value, kind))
        except Exception:  # noqa: BLE001 - whatever an object raises that is looked at
            return []

    def _elements(self, value: Any, kind: type) -> Iterator[tuple[str, Any, int]]:  # noqa: ANN401
        if issubclass(kind, dict):
            items = list(dict.items(value)) if dict.__len__(value) <= _LONGEST else []
            for number, (key, element) in enumerate(items):
                yield f"[{key!r}]" if type(key) in {str, int} else f"[#{number}]", element, 1
        elif issubclass(kind, list | tuple | set | frozenset):
            for number, element in enumerate(value if len(value) <= _LONGEST else ()):
                yield f"[{number}]", element, 1
        elif kind is types.FunctionType:
            for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
                yield f".{name}", cell.cell_contents, 1
        elif kind in {types.MethodType, types.BuiltinMethodType, types.MethodWrapperType}:
            yield ".__self__", value.__self__, 1
        else:
            yield from self._attributes(value, kind)

    def _attributes(self, value: Any, kind: type) -> Iterator[tuple[str, Any, int]]:  # noqa: ANN401
        of_torch = frozenset[str]()
        if issubclass(kind, torch.nn.Module):
            of_torch = _OF_A_MODULE
            # However deep it lies, each module of a model or of transforms is looked at.
            for name, module in list(value._modules.items()):
                yield f".{name}", module, 0
        elif issubclass(kind, torch.optim.Optimizer):
            of_torch = _OF_AN_OPTIMIZER
        named = _dict_of(value)
        for name, element in named.items():
            if name not in of_torch:
                yield f".{name}", element, 1
        of_class = self._classes.get(kind) or self._classes.setdefault(kind, _of_class(kind))
        for name, slot in of_class.slots:
            element = _in_slot(slot, value)
            if element is not None:
                yield f".{name}", element, 1
        for name, generator in of_class.generators:
            if name not in named:
                yield f".{name}", generator, 1


def _dict_of(value: object) -> dict[str, Any]:
    try:
        return dict(object.__getattribute__(value, "__dict__"))
    except AttributeError:
        return {}


def _in_slot(slot: Any, value: object) -> Any:  # noqa: ANN401 - whatever is in it
    try:
        return slot.__get__(value)
    except AttributeError:  # nothing was put into it
        return None


def _of_class(kind: type) -> _OfClass:
    members = [(name, one) for cls in kind.__mro__ for name, one in list(vars(cls).items())]
    return _OfClass(
        [(name, one) for name, one in members if type(one) is types.MemberDescriptorType],
        [(name, one) for name, one in members if issubclass(type(one), Generator)],
    )
