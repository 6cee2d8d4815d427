"""The state of Python's global generator: whether it has changed, without the 625 numbers of `getstate`."""

import ctypes
import random
import struct
import sys
from typing import Any, NamedTuple

# The place among 624 words of a Mersenne Twister, then these: CPython's `RandomObject` behind its head
# (Modules/_randommodule.c).
_WORDS = struct.Struct("=625I")
_VERSION = 3


class StateOfPython(NamedTuple):
    """The state of Python's global generator at one moment.

    Attributes:
        memory: its words, as they lie in memory.
        waiting: the second number of a pair of normal numbers, which is given out without a draw.
    """

    memory: bytes
    waiting: float | None


class PythonState:
    """Looks at the state where CPython holds it, which takes a tenth of `random.getstate`'s time.

    That the state lies there is tried with a generator of its own; it is only read, and put back by
    `random.setstate`.
    """

    def __init__(self) -> None:
        generator: Any = getattr(random.random, "__self__", None)
        is_known = type(generator) is random.Random and _is_where_expected()
        self._generator = generator
        self._memory = _memory_of(generator) if is_known else None

    def __reduce__(self) -> tuple[type["PythonState"], tuple[()]]:
        """Another process has a generator of its own."""
        return PythonState, ()

    @property
    def can_be_looked_at(self) -> bool:
        """Whether the state was found in memory: else a change is not seen."""
        return self._memory is not None

    def get(self) -> Any:  # noqa: ANN401 - a state of one of two forms
        """The state of now, for the two other methods alone."""
        if self._memory is None:
            return random.getstate()
        return StateOfPython(self._memory.raw, self._generator.gauss_next)

    def is_still(self, state: Any) -> bool:  # noqa: ANN401 - of `get`
        """Whether the state of now is `state`, and nothing was drawn since."""
        if self._memory is None:
            return bool(random.getstate() == state)
        is_same: bool = self._memory.raw == state.memory
        return is_same and bool(self._generator.gauss_next == state.waiting)

    def put_back(self, state: Any) -> None:  # noqa: ANN401 - of `get`
        """Let `state` be that of now."""
        if self._memory is None:
            random.setstate(state)
        elif not self.is_still(state):
            random.setstate(_for_setstate(state))


def _memory_of(generator: random.Random) -> Any:  # noqa: ANN401 - a ctypes array
    return (ctypes.c_char * _WORDS.size).from_address(id(generator) + object.__basicsize__)


def _for_setstate(state: StateOfPython) -> tuple[Any, ...]:
    place, *words = _WORDS.unpack(state.memory)
    return _VERSION, (*words, place), state.waiting


def _is_where_expected() -> bool:
    if sys.implementation.name != "cpython":
        return False
    if random.Random.__basicsize__ < object.__basicsize__ + _WORDS.size:
        return False
    generator = random.Random(0)
    memory = _memory_of(generator)
    for draw in (generator.random, lambda: generator.gauss(0.0, 1.0), lambda: generator.seed(1)):
        seen = StateOfPython(memory.raw, getattr(generator, "gauss_next", None))
        if _for_setstate(seen) != generator.getstate():
            return False
        draw()
    return True
