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
        Parts that overlap nowhere, the oldest first.
    """
    if not levels:
        return []
    levels = [LevelRow(NEWEST, levels[0].until, math.inf), *levels]
    first = max(place for place, level in enumerate(levels) if level.width <= max(bucket_s, 0))
    # Older than that, only wider ones are left; newer, wider ones are not made yet.
    older = [
        LevelRow(level.width, level.since, below.since) for below, level in itertools.pairwise(levels[first:])
    ]
    edges = [level.until for level in levels[first:0:-1]]
    newer = [
        LevelRow(level.width, edge, level.until)
        for edge, level in zip(edges, levels[first - 1 :: -1], strict=True)
    ]
    found = [*reversed(older), levels[first], *newer]
    # A bucket that begins before the range may reach into it.
    cut = [
        LevelRow(one.width, max(one.since, since - max(one.width, 0)), min(one.until, until)) for one in found
    ]
    return [one for one in cut if one.since < one.until]
