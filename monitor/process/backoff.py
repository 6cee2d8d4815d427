"""How long to wait before the next try."""

import random

_FIRST_S = 0.5
_LONGEST_S = 60.0


def pause_s(failures: int, generator: random.Random) -> float:
    """Seconds to wait after the `failures`-th failure in a row, counted from 1.

    Exponential with full jitter: uniform between 0 and 0.5, 1, 2, ... at most 60 s (M. Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015), and never below a tenth of that.
    """
    ceiling = min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures - 1, 10))
    return generator.uniform(ceiling / 10, ceiling)
