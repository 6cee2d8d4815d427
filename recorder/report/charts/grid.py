"""Readings on a grid of equal buckets, and their compact form in a page.

A bucket keeps the least, the mean and the greatest of its readings, so that no peak is lost. A bucket without
a reading is NaN: a gap in the line.
"""

import base64
import itertools
import math
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pylon.recorder.history import Sample

# A page's integers go from 0 to 65534; this one is 'no value'.
_NONE = 65535
# Readings hold until the next, if that comes within so many of their usual distances.
_HOLDS = 2.5
# Of fewer distances none is usual.
_FEWEST = 3

NAN = math.nan


@dataclass(frozen=True, slots=True)
class Grid:
    """`count` buckets of the same width; the unit is that of the axis (s, steps, epochs)."""

    start: float
    width: float
    count: int

    @property
    def end(self) -> float:
        """Where the last bucket ends."""
        return self.start + self.width * self.count

    def as_record(self) -> dict[str, float]:
        """As the page takes it."""
        return {"start": self.start, "width": self.width, "count": self.count}


@dataclass(frozen=True, slots=True)
class Level:
    """The values of a line on one grid; three lists of the same length."""

    low: list[float]
    mean: list[float]
    high: list[float]

    @property
    def is_empty(self) -> bool:
        """Whether no bucket has a value."""
        return all(value != value for value in self.mean)  # noqa: PLR0124 - NaN alone differs from itself


def grids_for(begin: float, end: float, buckets: int, last_s: float) -> list[Grid]:
    """One grid over the whole time, and a finer one over its last `last_s` seconds if that shows more."""
    length = max(end - begin, 1.0)
    # Readings are a second apart, or more: narrower buckets would be steps.
    count = max(1, min(buckets, round(length)))
    whole = Grid(begin, length / count, count)
    fine = max(1, round(min(last_s, length)))
    if whole.width <= 2.0:
        return [whole]
    return [whole, Grid(end - fine, 1.0, fine)]


def on_grid(grid: Grid, samples: Sequence[Sample]) -> Level:
    """Samples put into the buckets of a grid, whatever their own widths are."""
    level = Level(*([NAN] * grid.count for _ in range(3)))
    weights = [0] * grid.count
    for sample in samples:
        for bucket in _buckets(grid, sample.t, sample.t + sample.width):
            _add(level, weights, bucket, sample)
    for held, until in _held(samples):
        for bucket in _buckets(grid, held.t, until):
            if not weights[bucket]:
                _add(level, weights, bucket, held)
    return level


def _buckets(grid: Grid, since: float, until: float) -> range:
    """The buckets that a time reaches into, its end excluded; that of `since` if it has no length."""
    first = math.floor((since - grid.start) / grid.width)
    last = max(first, math.ceil((until - grid.start) / grid.width) - 1)
    # The end of the record falls on the end of the grid: its readings are in the last bucket.
    if first == grid.count and since <= grid.end + grid.width / 2:
        first = grid.count - 1
    return range(max(0, first), min(grid.count - 1, last) + 1)


def _add(level: Level, weights: list[int], bucket: int, sample: Sample) -> None:
    weight, new = weights[bucket], max(sample.n, 1)
    if not weight:
        level.low[bucket], level.mean[bucket], level.high[bucket] = sample.min, sample.mean, sample.max
    else:
        level.low[bucket] = min(level.low[bucket], sample.min)
        level.mean[bucket] += (sample.mean - level.mean[bucket]) * new / (weight + new)
        level.high[bucket] = max(level.high[bucket], sample.max)
    weights[bucket] = weight + new


def _held(samples: Sequence[Sample]) -> Iterator[tuple[Sample, float]]:
    """The samples that hold until the next, and when that is: buckets may be narrower than their distance."""
    distances = sorted(after.t - before.t for before, after in itertools.pairwise(samples))
    usual = distances[len(distances) // 2] if len(distances) >= _FEWEST else 0.0
    for sample, following in itertools.pairwise(samples):
        if following.t - sample.t <= _HOLDS * max(usual, sample.width):
            yield sample, following.t


def packed(values: list[float], *, exact: bool) -> dict[str, Any]:
    """Values for the page, in base64: as float32 if `exact`, else as steps of 1/65534 of its range."""
    if exact:
        return {"bits": 32, "data": _base64(array("f", values))}
    known = [value for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    scale = (_NONE - 1) / (high - low) if high > low else 0.0
    steps = array("H", (round((v - low) * scale) if math.isfinite(v) else _NONE for v in values))
    return {"bits": 16, "low": low, "high": high, "data": _base64(steps)}


def packed_level(level: Level | None, *, exact: bool) -> dict[str, Any] | None:
    """A level for the page; `low` and `high` are None if they are the mean everywhere."""
    if level is None or level.is_empty:
        return None
    flat = all(a == c or a != a for a, c in zip(level.low, level.high, strict=True))  # noqa: PLR0124 - NaN
    edges = (None, None) if flat else (packed(level.low, exact=exact), packed(level.high, exact=exact))
    return {"low": edges[0], "mean": packed(level.mean, exact=exact), "high": edges[1]}


def _base64(numbers: "array[Any]") -> str:
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode("ascii")
