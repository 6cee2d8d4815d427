"""Which way is better, and whether a candidate beats an incumbent."""

import math
from typing import Literal

Direction = Literal["higher", "lower"]


def is_better(direction: Direction, candidate: float | None, incumbent: float | None) -> bool:
    """Whether `candidate` replaces `incumbent` as the best so far.

    A score that is undefined (None or NaN) never replaces anything, not even another undefined
    one; any defined score replaces an undefined one. A tie keeps the incumbent, so the earliest
    of equally good epochs stays the best.

    Args:
        direction: 'higher' or 'lower': which way is better.
        candidate: the new score.
        incumbent: the best score so far.

    Raises:
        ValueError: `direction` is neither 'higher' nor 'lower'.
    """
    if direction not in ("higher", "lower"):
        raise ValueError(f"direction: {direction!r}, expected 'higher' or 'lower'.")
    if candidate is None or math.isnan(candidate):
        return False
    if incumbent is None or math.isnan(incumbent):
        return True
    return candidate > incumbent if direction == "higher" else candidate < incumbent
