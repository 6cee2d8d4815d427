"""Statistics of the last samples, in bounded memory and correct across gaps."""

import math
from collections import deque

from pylon.monitor.status import WindowStats


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
        """Add the newest value and return the statistics.

        None is a gap: it takes a place and does not count. A non-finite number is a gap too.
        """
        newest = None if value is None or not math.isfinite(value) else value
        self._values.append(newest)
        kept = [one for one in self._values if one is not None]
        if not kept:
            return WindowStats()
        least, most = min(kept), max(kept)
        # Halved and divided first: the sum of large values overflows. Rounding may not leave the bounds.
        mean = 2 * math.fsum(one / (2 * len(kept)) for one in kept)
        return WindowStats(least, most, min(max(mean, least), most), newest, len(kept))
