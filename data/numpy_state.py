"""The state of NumPy's global generator, which takes NumPy 60 us to hand out: only when it has changed."""

import ctypes
from typing import Any

import numpy as np

# 624 words of a Mersenne Twister and the place among them: NumPy's `mt19937_state`.
_STATE_BYTES = 625 * 4


class NumpyState:
    """The state, for `numpy.random.set_state`."""

    def __init__(self) -> None:
        self._known: Any = None
        self._memory_of_known = b""

    def __reduce__(self) -> tuple[type["NumpyState"], tuple[()]]:
        """Another process has a generator of its own."""
        return NumpyState, ()

    def get(self) -> Any:  # noqa: ANN401 - a tuple of a form that NumPy names nowhere
        """The state of now."""
        memory = _memory()
        if memory is None:
            return np.random.get_state(legacy=False)
        # A normal number that waits to be given out is not part of this memory.
        if self._known is None or memory != self._memory_of_known or self._known[3]:
            numbers: Any = np.random.get_state()
            name, keys, *rest = numbers
            # NumPy reads the state number by number: from an array that takes 45 us, from a list 2.
            self._known, self._memory_of_known = (name, keys.tolist(), *rest), memory
        return self._known


def _memory() -> bytes | None:
    """What the generator's state is in memory, to be compared alone; None if it has another form."""
    bits = np.random.get_bit_generator()  # type: ignore[attr-defined]  # NumPy 2.4's stub lacks it
    if type(bits) is not np.random.MT19937:
        return None
    return ctypes.string_at(bits.ctypes.state_address, _STATE_BYTES)
