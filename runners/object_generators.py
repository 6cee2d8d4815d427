"""Generators that the parts of a run hold themselves, such as `self.rng = numpy.random.default_rng(0)`."""

import logging
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pylon.data import Generator, named_generators
from pylon.runners.user_code import functions_of

logger = logging.getLogger(__name__)


class ObjectGenerators:
    """Those of the model, criterion, task, optimizer and scheduler, as a part of a checkpoint.

    Args:
        owners: the parts by name.
    """

    def __init__(self, owners: Mapping[str, object]) -> None:
        self._owners = owners
        self._found: dict[str, Any] = {}
        self.look()

    def look(self) -> None:
        """Find them again: some are made when they are first needed."""
        named = named_generators(self._owners)
        for name, owner in self._owners.items():
            named |= _of_modules(owner, name)
        found: dict[int, tuple[str, Any]] = {}
        for place, generator in named.items():
            if _has_state(generator):
                found.setdefault(id(generator), (place, generator))
        self._found = dict(found.values())

    def state_dict(self) -> dict[str, Any]:
        """The state of each by its place, as plain values and tensors."""
        return {place: _state_of(generator) for place, generator in self._found.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore those of these owners; the log names those that are not there."""
        self.look()
        missing = [
            place
            for place, state in state_dict.items()
            if place.startswith(tuple(self._owners)) and not _restored(self._found.get(place), state)
        ]
        if missing:
            logger.warning(
                "%s: the checkpoint has a state of these generators, which are not there. What they draw "
                "differs from a run that was not interrupted: make them in __init__.",
                ", ".join(missing),
                extra={"of_all_ranks": True},
            )


def _of_modules(owner: object, name: str) -> dict[str, Any]:
    """Those that stand in the Python modules of its classes, as `rng = numpy.random.default_rng(0)`."""
    objects = owner.modules() if isinstance(owner, torch.nn.Module) else [owner]
    classes = {cls for one in objects for cls in type(one).__mro__}
    found: dict[str, Any] = {}
    seen: list[dict[str, Any]] = []
    named = Counter[str]()
    for cls in sorted(classes, key=lambda cls: (cls.__module__, cls.__qualname__)):  # in each launch alike
        namespace = _namespace(cls)
        if any(namespace is known for known in seen):
            continue
        seen.append(namespace)
        held = [(key, one) for key, one in list(namespace.items()) if issubclass(type(one), Generator)]
        if held:
            # The module's own name does not stay: that of a configuration file follows from its path.
            named[cls.__qualname__] += 1
            number = f" {named[cls.__qualname__]}" if named[cls.__qualname__] > 1 else ""
            found |= {f"{name} (module of {cls.__qualname__}{number}).{key}": one for key, one in held}
    return found


def _namespace(cls: type) -> dict[str, Any]:
    """The names of the module that a class is from. That of a configuration file is in no `sys.modules`."""
    return next((one.__globals__ for one in functions_of(cls)), {})


def _has_state(generator: Generator) -> bool:
    """Whether it has one that a checkpoint can hold: not SystemRandom, nor one of the user's own making."""
    if isinstance(generator, random.Random):
        return type(generator).getstate is random.Random.getstate
    if isinstance(generator, torch.Generator):
        return True
    bits = (
        generator._bit_generator if isinstance(generator, np.random.RandomState) else generator.bit_generator
    )
    return type(bits).__module__.startswith("numpy.random.")


def _state_of(generator: Any) -> Any:  # noqa: ANN401 - plain values or a tensor
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, random.Random):
        version, internal, gauss = generator.getstate()
        return [version, list(internal), gauss]
    return _plain(_state_of_numpy(generator))


def _state_of_numpy(generator: np.random.RandomState | np.random.Generator) -> Any:  # noqa: ANN401
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.bit_generator.state


def _restored(generator: Any, state: Any) -> bool:  # noqa: ANN401 - of one of four kinds, or None
    """Give a generator this state; whether it takes it."""
    try:
        if isinstance(generator, torch.Generator):
            generator.set_state(state)
        elif isinstance(generator, random.Random):
            version, internal, gauss = state
            generator.setstate((version, tuple(internal), gauss))
        elif isinstance(generator, np.random.RandomState):
            generator.set_state(_like(_state_of_numpy(generator), state))
        elif isinstance(generator, np.random.Generator):
            generator.bit_generator.state = _like(_state_of_numpy(generator), state)
        else:
            return False
    except (TypeError, ValueError, KeyError, RuntimeError):  # of another kind than the saved one
        return False
    return True


def _plain(value: Any) -> Any:  # noqa: ANN401 - nested dicts of arrays, numbers and text
    if isinstance(value, dict):
        return {key: _plain(element) for key, element in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _like(template: Any, value: Any) -> Any:  # noqa: ANN401 - as in `_plain`
    """The inverse of `_plain`, with the arrays' dtypes of `template`."""
    if isinstance(template, dict):
        return {key: _like(element, value[key]) for key, element in template.items()}
    return np.array(value, dtype=template.dtype) if isinstance(template, np.ndarray) else value
