"""Rates of counters and the pace of costly readings, on an injected clock."""

import math

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.monitor.collectors.attempts import reason
from pylon.monitor.collectors.counters import Meter, Pace
from pylon.monitor.status import Absence
from pylon.monitor.status.values import value_or_none


def test_first_reading_has_no_rate() -> None:
    assert Meter[str]().rate(0.0, {"a": 5}) is Absence.STARTING


def test_rate_is_growth_over_time() -> None:
    meter = Meter[str]()
    meter.rate(10.0, {"a": 5, "b": 0})
    assert meter.rate(12.0, {"a": 7, "b": 4}) == 3.0


def test_what_only_one_reading_saw_does_not_count() -> None:
    meter = Meter[str]()
    meter.rate(0.0, {"gone": 100, "stays": 1})
    assert meter.rate(1.0, {"stays": 3, "new": 10**12}) == 2.0


def test_nothing_in_common_is_no_rate() -> None:
    meter = Meter[str]()
    meter.rate(0.0, {"a": 1})
    assert meter.rate(1.0, {"b": 2}) is Absence.STARTING
    assert meter.rate(2.0, {}) is Absence.STARTING


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 10.0),
            st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2**63), max_size=4),
        ),
        max_size=20,
    )
)
def test_rates_are_never_negative_nor_endless(steps) -> None:
    meter, now_s = Meter[str](), 0.0
    for step_s, counters in steps:
        now_s += step_s
        rate = meter.rate(now_s, counters)
        assert isinstance(rate, Absence) or (math.isfinite(rate) and rate >= 0)


def test_pace_keeps_the_interval() -> None:
    pace = Pace(10.0)
    assert pace.due(3.0)
    pace.took(3.0, 0.001)
    assert not pace.due(12.9)
    assert pace.due(13.0)


def test_costly_reading_is_made_more_rarely() -> None:
    pace = Pace(10.0, share=0.001)
    pace.took(0.0, 0.5)
    assert not pace.due(499.0)
    assert pace.due(500.0)


def test_known_notes_the_reason_under_each_name() -> None:
    absent: dict[str, Absence] = {}
    assert value_or_none(absent, 0, "zero") == 0
    assert value_or_none(absent, Absence.DENIED, "one", "other") is None
    assert absent == {"one": Absence.DENIED, "other": Absence.DENIED}


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (psutil.AccessDenied(1), Absence.DENIED),
        (psutil.NoSuchProcess(1), Absence.LOST),
        (psutil.ZombieProcess(1), Absence.LOST),
        (ProcessLookupError(3, "no such process"), Absence.LOST),
        (OSError(95, "not supported"), Absence.UNSUPPORTED),
        (RuntimeError("/proc/1/io file was empty"), Absence.UNREACHABLE),
    ],
)
def test_reasons(error, wanted) -> None:
    assert reason(error) is wanted
