"""No property is judged by a clock: each test has a time-out, and one slow example is no failure."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TESTS = Path(__file__).resolve().parent


@given(st.booleans())
def test_an_example_of_a_quarter_of_a_second_passes(_: bool) -> None:
    time.sleep(0.25)


def test_the_time_to_draw_examples_has_no_limit() -> None:
    assert HealthCheck.too_slow in settings().suppress_health_check


@pytest.mark.parametrize("setting", ["deadline", "suppress_health_check"])
def test_no_test_has_its_own_clock(setting: str) -> None:
    # Given to @settings, either replaces what tests/conftest.py sets for all.
    owners = [
        str(path.relative_to(TESTS))
        for path in sorted(TESTS.rglob("*.py"))
        if re.search(rf"@settings\(.*{setting}", path.read_text(encoding="utf-8"))
    ]
    assert owners == []
