"""Statistics of the last samples, in bounded memory and right across gaps."""

from collections import deque

from monitor.status import WindowStats


class Window:
    """The last `size` values of one quantity.

    Args:
        size: number of samples kept, at least 1.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size: {size}, expected at least 1.")
        self._values: deque[float | None] = deque(maxlen=size)

    def add(self, value: float | None) -> WindowStats:
        """Add the newest value and return the statistics; None is a gap, which counts as nothing."""
        self._values.append(value)
        known = [one for one in self._values if one is not None]
        if not known:
            return WindowStats()
        return WindowStats(min(known), max(known), sum(known) / len(known), value, len(known))
