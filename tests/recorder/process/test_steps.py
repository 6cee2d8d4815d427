"""Steps as windows, and when there is none for too long."""

import math

import pytest

from pylon.recorder.channel import MarkRecord, StepRecord
from pylon.recorder.endings import MemoryCounts
from pylon.recorder.process.rate import Rate
from pylon.recorder.process.steps import Steps

GIB = 2**30


def step(number: int, at_s: float, seconds: float = 0.5, **known: float) -> StepRecord:
    return StepRecord(0, number, at_s, seconds, known.get("wait_s"), known.get("loss"), None)


def loss(number: int, value: float) -> StepRecord:
    return StepRecord(0, number, 0.0, None, None, value, None)


def mark(kind: str, at_s: float) -> MarkRecord:
    return MarkRecord(0, at_s, kind, {})


def test_a_window_has_the_extent_of_steps_waits_and_finite_losses() -> None:
    steps = Steps(lambda one: one, None)
    records = [
        step(3, 10.0, 0.5, wait_s=0.1),
        step(4, 11.0, 1.5, wait_s=0.3),
        loss(3, 2.0),
        loss(4, math.nan),
    ]
    row = steps.window(1, records, 11.2)
    assert row is not None
    assert (row.n, row.first_step, row.last_step) == (2, 3, 4)
    assert (row.step_min, row.step_mean, row.step_max) == (0.5, 1.0, 1.5)
    assert (row.wait_min, row.wait_mean, row.wait_max) == pytest.approx((0.1, 0.2, 0.3))
    assert (row.loss_mean, row.loss_n, row.non_finite) == (2.0, 1, 1)
    assert row.t == 9.5
    assert steps.window(1, [], 12.2) is None
    following = steps.window(1, [step(5, 13.0)], 13.2)
    assert following is not None
    assert (following.t, following.non_finite) == (12.5, None), "no loss was reported: unknown, not 0"


def test_step_without_a_time_is_taken_and_a_late_loss_is_none() -> None:
    """A loop's first step has no time, nor has the one after a save."""
    steps = Steps(lambda one: one, None)
    untimed = loss(0, 2.0)._replace(loss=None)
    first = steps.window(1, [untimed], 1.0)
    following = steps.window(1, [step(1, 1.5), loss(0, 2.0), loss(2, 1.0)], 2.0)
    late = steps.window(1, [loss(1, 1.5)], 3.0)
    assert first is not None
    assert (first.n, first.first_step, first.last_step, first.loss_n) == (0, 0, 0, 0)
    assert following is not None
    assert (following.n, following.first_step, following.last_step) == (1, 1, 2)
    assert late is not None
    assert (late.first_step, late.last_step) == (None, None)
    assert steps.last_loss == 1.0, "that of the highest step, whenever it came"


def test_windows_do_not_overlap() -> None:
    steps = Steps(lambda one: one, None)
    first = steps.window(1, [step(1, 10.0, 5.0)], 10.5)
    second = steps.window(1, [step(2, 15.0, 5.0)], 15.5)
    assert first is not None
    assert second is not None
    assert second.t >= first.t + first.width


def test_too_long_without_a_step_is_a_hang() -> None:
    steps = Steps(lambda one: one, 60.0)
    assert steps.hang(1000.0) is None, "before the first step nothing is known"
    steps.window(1, [step(number, float(number), 1.0) for number in range(20)], 19.0)
    assert steps.hang(78.0) is None
    hang = steps.hang(80.0)
    assert hang is not None
    assert (hang.for_s, hang.limit_s, hang.step_s) == (61.0, 60.0, 1.0)


def test_slow_steps_have_more_time() -> None:
    steps = Steps(lambda one: one, 60.0)
    steps.window(1, [step(1, 0.0, 30.0)], 1.0)
    assert steps.hang(299.0) is None
    assert steps.hang(301.0) is not None


def test_validation_and_saves_are_no_hang_and_the_time_after_them_counts_from_their_end() -> None:
    steps = Steps(lambda one: one, 60.0)
    steps.window(1, [step(1, 10.0)], 10.0)
    steps.note(
        [mark("validation_begin", 11.0), mark("checkpoint_begin", 500.0), mark("checkpoint_end", 501.0)]
    )
    assert steps.hang(700.0) is None
    steps.note([mark("validation_end", 700.0)])
    assert steps.hang(759.0) is None
    assert steps.hang(761.0) is not None


def test_a_step_shows_that_a_validation_is_over_whose_end_was_lost() -> None:
    steps = Steps(lambda one: one, 60.0)
    steps.note([mark("validation_begin", 5.0)])
    steps.window(1, [step(1, 10.0, 0.5)], 10.0)
    assert steps.hang(71.0) is not None


def test_the_rate_rises_near_a_limit_and_falls_back() -> None:
    rate = Rate(1.0)
    rate.note(MemoryCounts(10.0, used_bytes=5 * GIB, limit_bytes=8 * GIB), 0.0)
    assert rate.wait_s(10.0) == 1.0
    rate.note(MemoryCounts(11.0, used_bytes=int(7.5 * GIB), limit_bytes=8 * GIB), 0.0)
    assert rate.wait_s(11.0) == 0.15
    rate.note(MemoryCounts(12.0, used_bytes=5 * GIB, limit_bytes=8 * GIB), 0.0)
    assert rate.wait_s(15.9) == 0.15
    assert rate.wait_s(16.1) == 1.0


def test_the_rate_rises_while_tasks_wait_for_memory_more_and_more() -> None:
    rate = Rate(1.0)
    rate.note(MemoryCounts(10.0), 1.0)
    rate.note(MemoryCounts(11.0), 2.0)
    assert not rate.is_fast(11.0)
    rate.note(MemoryCounts(12.0), 9.0)
    assert rate.is_fast(12.0)
