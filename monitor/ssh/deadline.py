"""A time by which something is over, by the monotonic clock."""

import time


class Deadline:
    """Ends `seconds` from now.

    Args:
        seconds: above 0.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end_s = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """What is left, at least 0."""
        return max(0.0, self._end_s - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.left_s <= 0.0
