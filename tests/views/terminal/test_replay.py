"""The time that is looked at."""

import datetime

import pytest

from pylon.views.terminal.page import Page
from pylon.views.terminal.past import Past, past_of_run
from pylon.views.terminal.replay import Replay, TimeError
from tests.recorder.synthetic import BEGAN_AT, Run, write_history


def replay() -> Replay:
    found = Replay()
    found.know(BEGAN_AT, BEGAN_AT + 1000)
    return found


def test_pause_step_play_and_now() -> None:
    one = replay()
    assert one.now == BEGAN_AT + 1000
    one.toggle()
    one.know(BEGAN_AT, BEGAN_AT + 2000)
    assert one.now == BEGAN_AT + 1000, "what is paused stays where it is"
    one.step(-2)
    assert one.now == BEGAN_AT + 960
    one.toggle()
    one.change_speed(2)
    one.advance(1.0)
    assert one.now == BEGAN_AT + 992
    one.advance(1000.0)
    assert (one.now, one.speed) == (BEGAN_AT + 2000, 0.0), "it ends at the end"
    one.toggle()
    assert one.now == BEGAN_AT, "played again, it begins again"
    one.go_live()
    one.know(BEGAN_AT, BEGAN_AT + 3000)
    assert one.now == BEGAN_AT + 3000


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("start", 0),
        ("end", 1000),
        ("50%", 500),
        ("10m", 600),
        ("-1m", 940),
        ("5 s", 5),
        ("9h", 1000),
        ("now", 1000),
    ],
)
def test_jump(text: str, after: float) -> None:
    one = replay()
    one.jump(text)
    assert one.now == BEGAN_AT + after
    assert (one.at is None) == (text == "now")


def test_jump_to_a_time_of_the_clock() -> None:
    one = replay()
    wanted = datetime.datetime.fromtimestamp(BEGAN_AT + 300, datetime.UTC).astimezone()
    one.jump(wanted.strftime("%H:%M:%S"))
    assert one.now == BEGAN_AT + 300
    one.jump("start")
    one.jump(wanted.strftime("%Y-%m-%d %H:%M:%S"))
    assert one.now == BEGAN_AT + 300


@pytest.mark.parametrize("text", ["", "soon", "25:99", "99:99", "10x", "2026-13-45 10:00"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    one = replay()
    with pytest.raises(TimeError):
        one.jump(text)
    assert one.at is None


def test_a_part_of_the_time_is_around_what_is_looked_at_and_within_what_is_known() -> None:
    one = replay()
    assert one.range == (BEGAN_AT, BEGAN_AT + 1000)
    one.zoom(1)
    assert one.range == (BEGAN_AT + 750, BEGAN_AT + 1000)
    one.jump("50%")
    assert one.range == (BEGAN_AT + 375, BEGAN_AT + 625)
    one.zoom(-5)
    assert one.range == (BEGAN_AT, BEGAN_AT + 1000)


def test_a_record_that_takes_long_to_read_is_read_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, reads = 0.0, []

    def read(since: float | None, until: float | None) -> Past:
        nonlocal now_s
        reads.append((since, until))
        now_s += 0.5
        return Past(BEGAN_AT, BEGAN_AT + 1000)

    monkeypatch.setattr("pylon.views.terminal.page.time.monotonic", lambda: now_s)
    page = Page("Run", lambda _picture, _width: None, read, slow=True)
    for _ in range(60):
        if page.is_due():
            page.refresh()
        now_s += 1.0
    assert 5 <= len(reads) <= 7, "0.5 s every 10 s"
    page.replay.toggle()
    page.replay.zoom(1)
    assert page.is_due(), "another range is read at once"


def test_the_past_of_a_run_is_that_of_its_record(tmp_path) -> None:
    path = write_history(tmp_path / "history.sqlite", Run(seconds=300, gpus=2, epoch_s=100), commit_every=50)
    past = past_of_run(path, 1, None, None)
    assert (past.first, past.last) == (BEGAN_AT, BEGAN_AT + 300)
    titles = [one.title for one in past.series]
    assert titles[:3] == ["Loss", "Step time", "Wait for data"]
    assert {"GPU 0", "GPU 1", "Memory of the run", "CPU"} <= set(titles)
    lost = next(one for one in past.series if one.title == "GPU 1")
    assert lost.why == "lost"
    assert lost.at(BEGAN_AT + 100, 10) is not None
    assert lost.at(BEGAN_AT + 290, 10) is None, "what is lost has no value, and no 0"
    early, late = past.facts(BEGAN_AT + 50), past.facts(BEGAN_AT + 299)
    assert early[0].startswith("epoch 0, step ")
    assert not any("!" in line for line in early)
    assert "! critical: GPU 1 is lost" in late
    line = past.mark_line(past.first, past.last, 100)
    assert line[0] == "E" and line.count("E") == 3 and "V" in line and "C" in line and "!" in line
    part = past_of_run(path, 1, BEGAN_AT + 100, BEGAN_AT + 120)
    assert all(BEGAN_AT + 99 <= t <= BEGAN_AT + 121 for one in part.series for t in one.times)
    assert (part.first, part.last) == (past.first, past.last)
