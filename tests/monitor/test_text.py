"""Text of unknown origin."""

from hypothesis import given
from hypothesis import strategies as st

from pylon.monitor.text import printable


@given(st.text())
def test_result_can_be_shown_and_is_as_long(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)


def test_only_what_cannot_be_shown_is_replaced() -> None:
    assert printable("grün\x1b[31m\n\x9b") == "grün?[31m??"
    assert printable("a\tb", " ") == "a b"
