"""What counts as better."""

import math

import pytest

from pylon.metrics import Direction, is_better


@pytest.mark.parametrize(
    ("direction", "candidate", "incumbent", "better"),
    [
        ("higher", 0.6, 0.5, True),
        ("higher", 0.5, 0.6, False),
        ("lower", 0.5, 0.6, True),
        ("lower", 0.6, 0.5, False),
        ("higher", 0.0, None, True),
        ("lower", 9.0, math.nan, True),
    ],
)
def test_direction_decides(
    direction: Direction, candidate: float, incumbent: float | None, better: bool
) -> None:
    assert is_better(direction, candidate, incumbent) is better


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_tie_keeps_the_earlier_epoch(direction: Direction) -> None:
    assert not is_better(direction, 0.5, 0.5)


@pytest.mark.parametrize("direction", ["higher", "lower"])
@pytest.mark.parametrize("candidate", [None, math.nan])
@pytest.mark.parametrize("incumbent", [None, math.nan, 0.0, -math.inf, math.inf])
def test_undefined_score_is_never_better(
    direction: Direction, candidate: float | None, incumbent: float | None
) -> None:
    assert not is_better(direction, candidate, incumbent)


def test_unknown_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="'up', expected 'higher' or 'lower'"):
        is_better("up", 1.0, 0.0)  # type: ignore[arg-type]
