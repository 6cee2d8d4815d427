"""The state of NumPy's global generator, which takes NumPy 60 us to hand out: only when it has changed."""

import ctypes
from typing import Any

import numpy as np

# 624 words of a Mersenne Twister and the place among them: NumPy's `mt19937_state`.
_STATE_BYTES = 625 * 4


class NumpyState:
    """The state, as NumPy hands it out and takes it.

    A Mersenne Twister is looked at, and put back, where NumPy shows it to code in C (its `ctypes` interface).
    Other generators, and normal numbers that wait to be given out, take NumPy's own way.
    """

    def __init__(self) -> None:
        self._bits: Any = None
        self._memory: Any = None
        self._known: Any = None
        self._memory_of_known = b""

    def __reduce__(self) -> tuple[type["NumpyState"], tuple[()]]:
        """Another process has a generator of its own."""
        return NumpyState, ()

    def get(self) -> Any:  # noqa: ANN401 - a tuple of a form that NumPy names nowhere
        """The state of now, for `numpy.random.set_state`."""
        memory = self._memory_of_now()
        if memory is None:
            return np.random.get_state(legacy=False)
        memory = memory.raw
        # A normal number that waits to be given out is not part of this memory.
        if self._known is None or memory != self._memory_of_known or self._known[3]:
            numbers: Any = np.random.get_state()
            name, keys, *rest = numbers
            # NumPy reads the state number by number: from an array that takes 45 us, from a list 2.
            self._known, self._memory_of_known = (name, keys.tolist(), *rest), memory
        return self._known

    def put_back(self, state: Any) -> None:  # noqa: ANN401 - of `get`
        """Let `state`, one of `get`, be that of now."""
        memory = self._memory_of_now()
        if memory is None or state is not self._known or state[3]:
            np.random.set_state(state)
            return
        # Nothing waits to be given out after this.
        np.random.seed(0)
        with self._bits.lock:
            memory.raw = self._memory_of_known

    def _memory_of_now(self) -> Any:  # noqa: ANN401 - a ctypes array
        """Where the generator's state lies; None if it has another form."""
        bits = np.random.get_bit_generator()  # type: ignore[attr-defined]  # NumPy 2.4's stub lacks it
        if bits is not self._bits:
            self._bits, self._known = bits, None
            is_twister = type(bits) is np.random.MT19937
            address = bits.ctypes.state_address if is_twister else None
            self._memory = None if address is None else (ctypes.c_char * _STATE_BYTES).from_address(address)
        return self._memory
