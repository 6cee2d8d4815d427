"""Pauses between tries: they grow, they end somewhere, and no two processes try in step."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.monitor.process.backoff import pause_s

FIRST_S, LONGEST_S = 0.5, 60.0


def ceiling_s(failures: int) -> float:
    return min(LONGEST_S, FIRST_S * 2 ** (failures - 1))


@given(failures=st.integers(1, 10**9), seed=st.integers())
def test_every_pause_is_within_its_bounds(failures: int, seed: int) -> None:
    pause = pause_s(failures, random.Random(seed))
    # A power of a billion is not worth computing here either.
    most = ceiling_s(min(failures, 20))
    assert most / 10 <= pause <= most


@pytest.mark.parametrize("failures", range(1, 8))
def test_it_grows_twofold_until_the_cap(failures: int) -> None:
    assert most(failures + 1) == pytest.approx(min(2 * most(failures), LONGEST_S))


@pytest.mark.parametrize("failures", [8, 9, 20, 1000, 10**9])
def test_it_never_gives_up_but_slows_to_once_a_minute(failures: int) -> None:
    assert most(failures) == LONGEST_S


def test_jitter_spreads_over_the_whole_range() -> None:
    generator = random.Random(0)
    pauses = [pause_s(5, generator) for _ in range(2000)]
    least, largest = ceiling_s(5) / 10, ceiling_s(5)
    assert min(pauses) < least + 0.05 * (largest - least)
    assert max(pauses) > largest - 0.05 * (largest - least)
    assert statistics.mean(pauses) == pytest.approx((least + largest) / 2, rel=0.05)


class Highest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


def most(failures: int) -> float:
    return pause_s(failures, Highest())
