"""Statistics of the last samples, against a naive reading of the same samples."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.monitor.status import WindowStats
from pylon.monitor.status.window import Window

finite = st.floats(allow_nan=False, allow_infinity=False)
gaps = st.sampled_from([None, math.nan, math.inf, -math.inf])


def expected(values: list[float | None], size: int) -> tuple[float, float, Fraction, int] | None:
    kept = [one for one in values[-size:] if one is not None and math.isfinite(one)]
    if not kept:
        return None
    return min(kept), max(kept), sum(map(Fraction, kept)) / len(kept), len(kept)


@given(values=st.lists(finite | gaps, min_size=1, max_size=40), size=st.integers(1, 12))
def test_every_step_equals_a_naive_reading(values, size) -> None:
    window = Window(size)
    for end in range(1, len(values) + 1):
        stats = window.add(values[end - 1])
        wanted = expected(values[:end], size)
        if wanted is None:
            assert stats == WindowStats()
            continue
        least, most, mean, count = wanted
        assert (stats.minimum, stats.maximum, stats.count) == (least, most, count)
        newest = values[end - 1]
        assert stats.newest == (newest if newest is not None and math.isfinite(newest) else None)
        assert stats.mean is not None
        # Off by a few units in the last place of the largest value at most.
        assert abs(Fraction(stats.mean) - mean) <= Fraction(max(abs(least), abs(most))) / 2**50 + Fraction(
            1e-300
        )


@given(values=st.lists(finite | gaps, min_size=1, max_size=40), size=st.integers(1, 12))
def test_mean_stays_within_the_bounds(values, size) -> None:
    window = Window(size)
    for value in values:
        stats = window.add(value)
        if stats.mean is not None:
            assert stats.minimum <= stats.mean <= stats.maximum


@given(value=finite, count=st.integers(1, 30))
def test_constant_has_itself_as_mean(value, count) -> None:
    window = Window(10)
    stats = [window.add(value) for _ in range(count)][-1]
    assert (stats.minimum, stats.maximum, stats.mean, stats.newest) == (value, value, value, value)


def test_a_gap_takes_a_place_so_old_values_leave() -> None:
    window = Window(3)
    window.add(100.0)
    window.add(None)
    window.add(math.nan)
    assert window.add(1.0) == WindowStats(1.0, 1.0, 1.0, 1.0, 1)


def test_newest_is_absent_when_the_newest_sample_lacks_it() -> None:
    window = Window(3)
    window.add(5.0)
    assert window.add(None) == WindowStats(5.0, 5.0, 5.0, None, 1)


def test_only_gaps_are_not_zero() -> None:
    window = Window(2)
    assert [window.add(gap) for gap in (None, math.nan, math.inf)][-1] == WindowStats()


def test_memory_is_bounded() -> None:
    window = Window(5)
    for value in range(1000):
        stats = window.add(float(value))
    assert stats == WindowStats(995.0, 999.0, 997.0, 999.0, 5)


@pytest.mark.parametrize("size", [0, -1])
def test_a_window_of_nothing_is_refused(size) -> None:
    with pytest.raises(ValueError, match="size"):
        Window(size)
