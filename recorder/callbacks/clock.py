"""What a step takes, and how much of that is waiting for data."""

import time


class StepClock:
    """Takes what a loop does when; everything else between two steps is waiting for data."""

    def __init__(self) -> None:
        self._free_s: float | None = None
        self._began_s: float | None = None

    def free(self) -> None:
        """From here on the loop waits for data: an epoch begins, a validation is over."""
        self._free_s = time.monotonic()
        self._began_s = None

    def busy(self) -> None:
        """The loop does something else than steps: what follows is no step's time."""
        self._free_s = self._began_s = None

    def begin(self) -> None:
        """A step has its data."""
        self._began_s = time.monotonic()

    def end(self) -> tuple[float, float | None] | None:
        """A step is done: what it took with the wait for its data, and that wait; None: not known."""
        now, free, began = time.monotonic(), self._free_s, self._began_s
        self._free_s, self._began_s = now, None
        if began is None:
            return None if free is None else (now - free, None)
        return (now - began, None) if free is None else (now - free, began - free)
