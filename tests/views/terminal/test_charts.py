"""Lines over time: peaks and gaps stay, and the axis holds what is shown."""

import pytest

from pylon.views.terminal.charts import Series, chart, spans

SECONDS = [float(second) for second in range(1000)]


def series(values: list[float | None], **ends: float) -> Series:
    return Series("CPU", "percent", SECONDS[: len(values)], values, **ends)


def test_a_peak_of_one_reading_is_seen_in_a_narrow_chart() -> None:
    found = series([10.0] * 510 + [99.0] + [10.0] * 489, low=0.0, high=100.0)
    assert spans(found, 0, 999, 20)[10] == (10.0, 99.0)
    lines = chart(found, 0, 999, (29, 6))
    assert lines[0].startswith("CPU 10%  (10% to 99%)")
    assert lines[1].startswith("    100%│") and lines[1][9:].strip(), "the peak is in the first line"


@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_gap_stays_a_gap(ascii_only: bool) -> None:
    found = series([50.0] * 400 + [None] * 200 + [50.0] * 400, low=0.0, high=100.0)
    lines = chart(found, 0, 999, (49, 6), ascii_only=ascii_only)
    drawn = [line[9:] for line in lines[1:] if line[9:].strip()]
    assert len(drawn) == 1
    assert drawn[0][:14].strip() and not drawn[0][17:23].strip() and drawn[0][26:].strip()


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("size", [(20, 4), (79, 7), (250, 16)])
@pytest.mark.parametrize("values", [[], [None] * 9, [1.0] * 9, [float("inf"), 1.0, -5.0], [0.0, 1e30]])
def test_every_line_has_its_width(
    values: list[float | None], size: tuple[int, int], ascii_only: bool
) -> None:
    lines = chart(series(values), 0, 9, size, ascii_only=ascii_only, at=4.0)
    assert [len(line) for line in lines] == [size[0]] * size[1]
    assert not ascii_only or all(line.replace("…", "").isascii() for line in lines)


def test_without_values_there_is_a_reason_and_no_zero() -> None:
    lines = chart(series([None, None])._replace(why="lost"), 0, 9, (60, 6))
    assert lines[0].startswith("CPU ?  (lost)")
    assert not "".join(lines[1:]).strip()


def test_the_time_that_is_looked_at_has_its_value_and_its_mark() -> None:
    found = series([float(place % 100) for place in range(100)])
    lines = chart(found, 0, 99, (60, 8), at=50.0)
    assert lines[0].startswith("CPU 50%")
    assert sum("│" in line[9:] for line in lines[1:]) >= 5


def test_a_value_too_old_is_not_that_of_now() -> None:
    assert series([1.0, 2.0]).at(5.0, within_s=10.0) == 2.0
    assert series([1.0, 2.0]).at(50.0, within_s=10.0) is None
    assert series([1.0, None]).at(1.0, within_s=10.0) is None
