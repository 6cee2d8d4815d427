"""What went wrong is one line that steers no terminal, whoever wrote its text."""

from pylon.monitor.status.failure import Failure

_FORGED = "closed\x1b[2J\x07\nINFO runners.launch: finished\r\u202e\x9b31m"


def test_control_characters_end_no_line_and_steer_no_terminal() -> None:
    text = str(Failure.of(RuntimeError(_FORGED)))
    assert text.isprintable()
    assert "closed" in text and "finished" in text


def test_text_is_bounded_and_ordinary_text_stays() -> None:
    assert len(Failure.of(RuntimeError("x" * 10_000)).text) == 500
    assert Failure.of(RuntimeError("办公: no route, try gpu2")).text == "办公: no route, try gpu2"
