"""The whole screen in a terminal that is none: what it shows and what its keys do."""

import asyncio
import dataclasses
import re
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pylon.monitor import SystemSnapshot
from pylon.views.sources.board import RunBoard, Runs
from pylon.views.terminal.drawing import screen
from pylon.views.terminal.picture import Picture
from tests.recorder.synthetic import Run, write_history
from tests.views.terminal.invented import EVIL, InventedMonitor, picture, run, servers, trail
from tests.views.terminal.shown import SCREENS, shown

pytestmark = pytest.mark.usefixtures("textual")
SIZES = [(80, 24), (250, 70)]
Script = Callable[[Any, Any], Awaitable[None]]


class QuickKeys:
    """Keys without a terminal's way of sending them, which takes a Pilot most of its time."""

    def __init__(self, app: Any, pilot: Any) -> None:
        self._app, self.pause, self.resize_terminal = app, pilot.pause, pilot.resize_terminal

    async def press(self, *keys: str) -> None:
        for key in keys:
            self._app.desk.press(key, key if len(key) == 1 else None)
            self._app.draw()
            await asyncio.sleep(0)


def play(script: Script, size: tuple[int, int] = (80, 24), typed: bool = False, **settings: Any) -> Any:
    """Run the app without a terminal; `typed`: keys come as from one."""
    from pylon.views.terminal.app import WatchApp

    async def playing() -> Any:
        app = WatchApp(None, trail=trail, **settings)
        async with app.run_test(size=size) as pilot:
            app.take(picture(40, 8))
            await pilot.pause()
            await script(app, pilot if typed else QuickKeys(app, pilot))
        return app

    return asyncio.run(playing())


def drawn(app: Any) -> list[str]:
    """The lines as the terminal has them."""
    from pylon.views.terminal.app import Lines

    found = app.query_one(Lines)
    return [found.render_line(y).text for y in range(app.size.height)]


@pytest.mark.parametrize("size", SIZES)
def test_every_list_fills_the_screen_and_no_more(size: tuple[int, int]) -> None:
    async def script(app: Any, pilot: Any) -> None:
        for key, title in zip("12345", ("Servers", "GPUs", "Processes", "Runs", "Alerts"), strict=True):
            await pilot.press(key)
            lines = drawn(app)
            assert len(lines) == size[1]
            assert {len(line) for line in lines} == {size[0]}
            assert f"[{key} {title}" in lines[1]
            assert "40 servers (1 not ok), 320 GPUs" in lines[0]
            assert lines[-1].startswith("? help")
        await pilot.press("tab", "shift+tab", "shift+tab")
        assert "[4 Runs" in drawn(app)[1]
        assert any(line.startswith(">!mine") and "training" in line and "33%" in line for line in drawn(app))
        await pilot.press("question_mark")
        assert any("this screen only reads" in line for line in drawn(app))
        await pilot.press("escape", "a")
        assert any("dgx002" in line and "unreachable" in line for line in drawn(app))

    play(script, size, typed=True)


def test_runs_and_alerts_are_below_the_machines_on_a_high_screen() -> None:
    async def script(app: Any, pilot: Any) -> None:
        lines = drawn(app)
        assert any(line.startswith("Runs  2") for line in lines)
        assert any("memory runs out in 2 min" in line for line in lines)

    play(script, (250, 70))


def test_moving_keeps_the_cursor_in_view_and_sorting_changes_the_order() -> None:
    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("end")
        assert any(line.startswith("> dgx039") for line in drawn(app))
        await pilot.press("k", "k", "pageup", "home", "j", "down")
        assert any(line.startswith(">!dgx002") for line in drawn(app))
        await pilot.press("home", *"ssss", "r")
        lines = drawn(app)
        assert "CPUv" in lines[2]
        assert "dgx034" in lines[3], "of the greatest CPU share"
        await pilot.press("l", "l")
        assert drawn(app)[2].split()[:3] == ["Server", "CPUv", "Mem%"]

    play(script)


def test_filter_its_error_and_its_history() -> None:
    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("2", "slash", *"tmp>80", "enter")
        lines = drawn(app)
        assert lines[-1].startswith("/tmp>80_")
        problem = " ".join(line.strip() for line in lines[-6:-1])
        assert "! character 1: no column 'tmp' here; there are: server, gpu," in problem
        assert problem.endswith("user")
        await pilot.press("home", "right", *"e", "enter")
        lines = drawn(app)
        assert app.desk.prompt is None
        assert lines[-1].startswith("filter temp>80 (Esc clears it)")
        assert 0 < len(app.desk.listing.rows) < 320
        assert all(row.now.figure("gpu_temperature").value > 80 for row in app.desk.listing.rows)
        await pilot.press("escape")
        assert len(app.desk.listing.rows) == 320
        await pilot.press("ctrl+r")
        assert drawn(app)[-1].startswith("/temp>80_")
        await pilot.press("escape", "slash", *"nothing", "enter")
        assert any("none of 320 fits the filter" in line for line in drawn(app))

    play(script, typed=True)


@pytest.mark.parametrize("size", SIZES)
def test_a_page_of_a_server_and_of_a_gpu_with_charts(size: tuple[int, int]) -> None:
    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("enter")
        text = "\n".join(drawn(app))
        assert "Server dgx000" in text and "cpu_utilization 10%" in text and "CPU 74%" in text
        await pilot.press("end")
        assert "disk_read" in "\n".join(drawn(app)), "what is not known is named with its reason"
        assert "not provided by this machine (unsupported)" in "\n".join(drawn(app))
        await pilot.press("escape", "2", "j", "enter")
        text = "\n".join(drawn(app))
        assert "GPU 1 of dgx000" in text and "Utilization 74%" in text and "⠁" in text
        await pilot.press("end")
        assert "--api-key ***" in "\n".join(drawn(app))
        app.take(picture(0))
        await pilot.press("home")
        assert "It is not there any more." in "\n".join(drawn(app))
        await pilot.press("escape")
        assert "none is known" in "\n".join(drawn(app)) or "no GPU is known" in "\n".join(drawn(app))

    play(script, size)


async def settled(app: Any, pilot: Any, text: str, again: Picture | None = None) -> str:
    """The screen once it has a text, which comes from a job in the background."""
    until, wanted = time.monotonic() + 10, "".join(text.split())
    # A text that is longer than a line goes on in the next one.
    while wanted not in "".join((found := "\n".join(drawn(app))).split()):
        assert time.monotonic() < until, found
        if again is not None:
            app.take(again)
        await pilot.pause(0.02)
    return found


def test_replay_of_a_run(tmp_path: Path) -> None:
    path = write_history(tmp_path / "mine/history.sqlite", Run(seconds=600, name="mine"), commit_every=100)
    found = RunBoard([tmp_path]).refresh()

    async def script(app: Any, pilot: Any) -> None:
        app.take(dataclasses.replace(picture(1), runs=found))
        await pilot.press("4", "enter")
        text = await settled(app, pilot, "[now]")
        assert "state killed" in text and "Loss 0." in text and "E V C !" in text
        await pilot.press("space", "g", *"50%", "enter")
        text = await settled(app, pilot, "[paused]")
        assert "as it was then" in text and "epoch 1, step 10" in text
        assert "verdict: Input-bound" in text
        await pilot.press("right_square_bracket")
        assert "epoch 1, step 102" in "\n".join(drawn(app))
        await pilot.press("plus", "space")
        await settled(app, pilot, "speed 32x")
        await settled(app, pilot, "[playing]")
        await pilot.press("g", *"tomorrow", "enter")
        assert "'tomorrow', expected 14:05" in "\n".join(drawn(app)[-5:])
        await pilot.press("escape", "g", *"end", "enter", "z")
        await settled(app, pilot, "1/4 of")
        assert "! critical: GPU 1 is lost" in "\n".join(drawn(app))
        await pilot.press("n")
        await settled(app, pilot, "[now]")
        path.unlink()
        await settled(app, pilot, "history.sqlite: th", dataclasses.replace(picture(1), runs=found))

    play(script)


@pytest.mark.parametrize("size", SIZES)
def test_in_ascii_without_colour_all_is_ascii_and_marked_in_the_text(size: tuple[int, int]) -> None:
    async def script(app: Any, pilot: Any) -> None:
        from pylon.views.terminal.app import Lines

        found = app.query_one(Lines)
        for key in ("1", "2", "3", "4", "5", "question_mark", "escape", "1", "enter"):
            await pilot.press(key)
            for y in range(size[1]):
                strip = found.render_line(y)
                assert strip.text.isascii(), strip.text
                assert all(one.style is None or one.style.color is None for one in strip)
        await pilot.press("escape")
        lines = drawn(app)
        assert lines[3].startswith("> dgx000") and lines[5].startswith(" !dgx002")

    play(script, size, ascii_only=True, colour=False)


def test_hostile_names_change_nothing_but_their_own_text() -> None:
    hostile = Picture(
        servers=servers(2, hostile=True),
        runs=Runs((run(EVIL, verdict=EVIL, cause=EVIL),), (f"{EVIL}: cannot be read",)),
    )

    async def script(app: Any, pilot: Any) -> None:
        app.take(hostile)
        for keys in (
            ["1"],
            ["enter"],
            ["end"],
            ["2"],
            ["enter"],
            ["end"],
            ["3"],
            ["4"],
            ["enter"],
            ["5"],
            ["1", "c"],
        ):
            await pilot.press(*keys)
            lines = drawn(app)
            assert len(lines) == 24
            assert all(line.isprintable() and len(line) == 80 for line in lines)
        await pilot.press("escape", "4")
        assert "?[31mred" in "\n".join(drawn(app))

    play(script)


def test_columns_export_and_layout(tmp_path: Path) -> None:
    layout = tmp_path / "state/pylon/watch.json"

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("c", "down", "space")
        assert any("> [ ] state" in line for line in drawn(app))
        await pilot.press("escape")
        assert "State" not in drawn(app)[2]
        await pilot.press("slash", *"dgx00", "enter", "e")
        await settled(app, pilot, "10 rows are in")
        await pilot.press("w")
        await settled(app, pilot, "the layout is saved")

    play(script, (120, 24), layout_path=layout, export_folder=tmp_path)
    assert len(list(tmp_path.glob("pylon-watch-servers-*.csv"))) == 1
    assert layout.is_file()

    async def again(app: Any, pilot: Any) -> None:
        assert "State" not in drawn(app)[2] and "filter dgx00 " in drawn(app)[-1]
        await pilot.press("e")
        await settled(app, pilot, "written (No such file or directory)")

    play(again, layout_path=layout, export_folder=tmp_path / "absent")
    layout.write_text("{")

    async def damaged(app: Any, pilot: Any) -> None:
        assert "wsavesanewone" in "".join("".join(drawn(app)[-6:]).split())
        assert "State" in drawn(app)[2]

    play(damaged, layout_path=layout)


def test_a_new_picture_draws_only_the_lines_that_changed() -> None:
    async def script(app: Any, pilot: Any) -> None:
        from pylon.views.terminal.app import Lines

        found = app.query_one(Lines)
        regions: list[Any] = []
        refresh = found.refresh
        found.refresh = lambda *given, **options: (regions.extend(given), refresh(*given, **options))[1]
        same = app.desk.picture
        app.take(same)
        assert regions == []
        one = dataclasses.replace(same, servers=(*servers(1, 8, tick=5), *same.servers[1:]))
        app.take(one)
        assert {region.y for region in regions} <= {0, 3}
        assert 3 in {region.y for region in regions}
        await pilot.press("space")
        app.take(picture(40, 8, tick=9))
        assert app.desk.picture is one, "a paused picture stays"
        assert "[paused]" in drawn(app)[0]

    play(script)


def test_resize_and_the_least_screen() -> None:
    async def script(app: Any, pilot: Any) -> None:
        for size in ((20, 5), (1, 1), (300, 90), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            app.draw()
            lines = screen(app.desk)
            assert len(lines) == size[1]
            for key in ("1", "enter", "escape", "c", "escape", "question_mark", "escape"):
                await pilot.press(key)

    play(script)


def test_pictures_come_from_the_feed_and_a_failure_is_shown() -> None:
    from pylon.views.terminal.app import WatchApp
    from pylon.views.terminal.feed import Feed

    monitor = InventedMonitor(3)

    async def playing() -> None:
        feed = Feed(monitor, monitor.names(), [], 0.05)
        app = WatchApp(feed)
        async with app.run_test(size=(80, 24)) as pilot:
            await settled(app, pilot, "dgx000")
            await pilot.press("enter")
            await settled(app, pilot, "CPU ")
            monitor.latest = lambda: 1 / 0  # type: ignore[assignment]
            text = await settled(app, pilot, "ZeroDivisionError")
            assert "the figures are those of" in text
        assert feed._thread is not None and not feed._thread.is_alive()

    asyncio.run(playing())


def test_records_that_hang_hold_up_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pylon.views.sources import reading
    from pylon.views.terminal.feed import Feed

    release, hangs, done = threading.Event(), threading.Event(), threading.Event()

    def refresh(_board: RunBoard) -> Runs:
        hangs.set()
        release.wait(60.0)
        return Runs()

    monkeypatch.setattr(RunBoard, "refresh", refresh)
    monkeypatch.setattr(reading, "_LATE_S", 0.3)
    monitor, pictures = InventedMonitor(1), []
    feed = Feed(monitor, monitor.names(), [tmp_path], 0.05)

    def show(one: Picture) -> None:
        pictures.append(one)
        if one.runs.problems:
            done.set()

    try:
        feed.start(show)
        assert hangs.wait(10)
        assert done.wait(30)
        assert len(pictures) > 2
        assert all(one.servers[0].state == "ok" for one in pictures)
        assert "their file system may hang" in pictures[-1].runs.problems[0]
    finally:
        feed.stop()
        release.set()


def test_pictures_come_more_often_than_slow_readings() -> None:
    from pylon.views.terminal.feed import Feed

    monitor, pictures, done = InventedMonitor(1), [], threading.Event()
    starting = SystemSnapshot(1, {}, {})
    shown, found = monitor.latest, iter([starting, starting])
    monitor.latest = lambda: next(found, None) or shown()  # type: ignore[method-assign]
    feed = Feed(monitor, monitor.names(), [], 600.0)

    def show(one: Picture) -> None:
        pictures.append(one)
        if len(pictures) == 4:
            done.set()

    began_s = time.monotonic()
    feed.start(show)
    assert done.wait(30)
    feed.stop()
    assert [one.servers[0].state for one in pictures[:3]] == ["starting", "starting", "ok"]
    assert time.monotonic() - began_s < 300
    assert len(feed.trail("dgx000", "cpu_utilization")[0]) == 1, "one point for each reading"


def test_runs_that_cannot_be_read_and_that_are_left_out_are_named() -> None:
    async def script(app: Any, pilot: Any) -> None:
        app.take(Picture(servers=servers(1), runs=Runs((), ("logs/x: does not exist",))))
        await pilot.press("4")
        assert any("logs/x: does not exist" in line for line in drawn(app))
        await pilot.press("a")
        assert any("unreadable" in line and "logs/x: does not" in line for line in drawn(app))
        app.take(Picture(servers=servers(1), runs=Runs((run(),), (), 7)))
        assert "1 run (and 7 older)" in drawn(app)[0]

    play(script)


def test_a_job_that_fails_is_shown() -> None:
    async def script(app: Any, pilot: Any) -> None:
        app._run_job(lambda: str(1 // 0))
        await settled(app, pilot, "! ZeroDivisionError")

    play(script)


def test_a_signal_ends_the_screen() -> None:
    from pylon.views.terminal.app import WatchApp

    ended = False

    async def playing() -> None:
        nonlocal ended
        app = WatchApp(None, lambda: ended)
        async with app.run_test() as pilot:
            ended = True
            until = time.monotonic() + 10
            while app.is_running and time.monotonic() < until:
                await pilot.pause(0.05)
            assert not app.is_running

    asyncio.run(playing())


def test_the_screens_of_the_page_are_as_they_are_shown() -> None:
    page = (Path(__file__).parents[3] / "docs/watch.md").read_text(encoding="utf-8")

    def without_clocks(text: str) -> str:
        return re.sub(r"\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d", "...", text)

    for title, (keys, height) in SCREENS.items():
        text = without_clocks(shown(keys, height).rstrip("\n"))
        assert f"```text\n{text}\n```" in without_clocks(page), (
            f"{title}: python -m tests.views.terminal.shown"
        )
