"""How long to wait before the next try."""

import random

_FIRST_S = 0.5
_LONGEST_S = 60.0
# What lived so long has not failed in a row with what was before it.
_HEALTHY_AFTER_S = 60.0


def pause_s(failures: int, generator: random.Random) -> float:
    """Seconds to wait after the `failures`-th failure in a row, counted from 1.

    Exponential with full jitter: uniform between 0 and 0.5, 1, 2, ... at most 60 s (M. Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015), and never below a tenth of that.
    """
    ceiling = min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures - 1, 10))
    return generator.uniform(ceiling / 10, ceiling)


class Backoff:
    """Counts the failures in a row of something that is started again and again."""

    def __init__(self) -> None:
        self._random = random.Random()
        self._failures = 0

    def after(self, lived_s: float) -> float:
        """Seconds to wait before the next start of what has just failed after `lived_s`."""
        self._failures = 1 if lived_s > _HEALTHY_AFTER_S else self._failures + 1
        return pause_s(self._failures, self._random)
