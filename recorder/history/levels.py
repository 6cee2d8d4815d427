"""Which level is read for which part of a time range."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

NEWEST = -1


class LevelRow(NamedTuple):
    """A level as the file has it: complete for `since <= t < until`; the width of readings is 0."""

    width: int
    since: float
    until: float


def parts(levels: Sequence[LevelRow], since: float, until: float, bucket_s: float) -> list[LevelRow]:
    """What to read, each with the part of the time range that is read of it.

    Args:
        levels: all of a file, the narrowest first.
        since, until: the range.
        bucket_s: the width to draw by: no wider level is read if a narrower one is left.

    Returns:
        Parts that have no reading twice, the oldest first; the newest readings last.
    """
    if not levels:
        return []
    # None of them is in a level yet, wherever in time they are.
    newest = LevelRow(NEWEST, -math.inf, math.inf)
    levels = [newest, *levels]
    first = max(place for place, level in enumerate(levels) if level.width <= max(bucket_s, 0))
    # Older than that, only wider ones are left; newer, wider ones are not made yet.
    older = [
        LevelRow(level.width, level.since, below.since) for below, level in itertools.pairwise(levels[first:])
    ]
    newer = [
        LevelRow(finer.width, level.until, finer.until)
        for finer, level in itertools.pairwise(levels[1 : first + 1])
    ]
    found = [*reversed(older), levels[first], *reversed(newer), newest]
    # A bucket that begins before the range may reach into it.
    cut = [
        LevelRow(one.width, max(one.since, since - max(one.width, 0)), min(one.until, until)) for one in found
    ]
    return [one for one in cut if one.since < one.until]
