"""Readings in buckets: no peak is lost, and where nothing was read there is a gap."""

import base64
import math
from array import array
from typing import Any

import pytest

from pylon.recorder.history import Sample
from pylon.recorder.report.charts.grid import Grid, grids_for, on_grid, packed, packed_level


def one(t: float, value: float, width: float = 0.0) -> Sample:
    return Sample(t, width, 1, value, value, value)


def known(values: list[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]


def test_peak_of_one_second_is_kept_in_a_wide_bucket() -> None:
    level = on_grid(Grid(0, 100, 2), [one(t, 99.0 if t == 57 else 1.0) for t in range(100)])
    assert (level.low[0], level.high[0]) == (1.0, 99.0)
    assert level.mean[0] == pytest.approx(1.98)
    assert math.isnan(level.mean[1])


def test_missing_minute_is_a_gap_and_no_zero() -> None:
    level = on_grid(Grid(0, 10, 12), [one(t, 5.0) for t in range(120) if not 40 <= t < 80])
    assert known(level.mean) == [5.0] * 4 + [None] * 4 + [5.0] * 4


def test_readings_that_come_a_little_late_leave_no_gap() -> None:
    level = on_grid(Grid(0, 1, 60), [one(t * 1.04, 5.0) for t in range(58)])
    assert None not in known(level.mean)


def test_wide_sample_fills_every_bucket_it_covers() -> None:
    level = on_grid(Grid(0, 1, 5), [one(1, 7.0, width=3)])
    assert known(level.mean) == [None, 7.0, 7.0, 7.0, None]


def test_reading_at_the_very_end_is_in_the_last_bucket() -> None:
    assert known(on_grid(Grid(0, 1, 3), [one(3.0, 7.0)]).mean) == [None, None, 7.0]


def test_what_is_outside_is_left_out() -> None:
    assert on_grid(Grid(100, 1, 3), [one(3.0, 7.0), one(500.0, 7.0)]).is_empty


def test_mean_counts_readings_and_not_samples() -> None:
    level = on_grid(Grid(0, 10, 1), [Sample(0, 5, 9, 1, 1, 1), Sample(5, 5, 1, 11, 11, 11)])
    assert level.mean == [2.0]


def test_long_run_has_its_last_minutes_by_the_second() -> None:
    whole, last = grids_for(0, 86400, 1000, 600)
    assert (whole.count, whole.end) == (1000, 86400)
    assert (last.start, last.width, last.count) == (85800, 1, 600)


def test_short_run_has_no_bucket_under_a_second() -> None:
    assert grids_for(0, 90, 1000, 600) == [Grid(0, 1, 90)]
    assert grids_for(5, 5, 1000, 600) == [Grid(5, 1, 1)], "a run that ended at once"


def unpacked(record: dict[str, Any]) -> list[float | None]:
    """As the page's script does."""
    raw = base64.b64decode(record["data"])
    if record["bits"] == 32:
        return known(list(array("f", raw)))
    scale = (record["high"] - record["low"]) / 65534
    return [None if step == 65535 else record["low"] + step * scale for step in array("H", raw)]


@pytest.mark.parametrize("values", [[1.0, math.nan, 3.5], [2.0, 2.0], [math.nan], [-1e9, 1e9], [0.0, 1e-12]])
def test_packed_values_come_back_within_a_step(values: list[float]) -> None:
    back = unpacked(packed(values, exact=False))
    finite = [value for value in values if not math.isnan(value)]
    step = (max(finite) - min(finite)) / 65534 if finite else 0
    assert [value is None for value in back] == [math.isnan(value) for value in values]
    assert all(value is None or abs(value - true) <= step for value, true in zip(back, values, strict=True))


def test_exact_values_keep_many_magnitudes() -> None:
    assert unpacked(packed([1e4, 1e-6, math.nan], exact=True)) == [1e4, pytest.approx(1e-6), None]


def test_edges_are_left_out_where_each_bucket_has_one_value() -> None:
    flat = packed_level(on_grid(Grid(0, 1, 3), [one(0, 1.0), one(1, 2.0), one(2, 3.0)]), exact=False)
    assert flat is not None
    assert (flat["low"], flat["high"]) == (None, None)
    assert packed_level(on_grid(Grid(0, 1, 3), []), exact=False) is None
