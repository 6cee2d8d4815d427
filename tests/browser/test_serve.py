"""The page of `pylon serve` as people use it: live, by mouse, keyboard, screen reader, dark, on a phone."""

import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from pylon.monitor import Absence
from tests.monitor.statuses import cpu, gpu, gpus, seen
from tests.recorder.synthetic import Run, write_history
from tests.views.web.conftest import EVIL_PROCESS, TOKEN, Served, Server, eventually, fleet

pytestmark = pytest.mark.ci
Visit = Callable[..., Any]


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """Opens a page; after the test, nothing is on the console and nothing was asked of another server."""
    contexts, trouble, requests = [], [], []

    def open_page(server: Served, path: str = "/", width: int = 1280, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda sent: requests.append((server.port, sent.url)))
        page.goto(f"http://127.0.0.1:{server.port}{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []
    assert all(url.startswith(f"http://127.0.0.1:{port}/") for port, url in requests)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    for seed in (1, 2):
        run = Run(seconds=120, epoch_s=40, seed=seed, name=f"run{seed}")
        write_history(folder / f"{seed}/history.sqlite", run)
    return folder


def row(page: Any, table: str, name: str) -> str:
    return str(page.locator(f"#{table} tbody tr", has_text=name).inner_text())


def test_overview_shows_servers_and_runs_and_follows_them(served: Server, visit: Visit, runs: Path) -> None:
    shown = fleet(3)
    server = served(paths=(runs,), shown=shown)
    page = visit(server)
    page.get_by_text("live", exact=True).wait_for()
    assert "12 %" in row(page, "servers", "gpu1")
    assert re.search(r"2: 0 %\s+1 of 160 GiB", row(page, "servers", "gpu1"))
    assert re.search(r"run2.*\skilled\s.*388\s.*33 %.*Input-bound", row(page, "runs", "run2"), re.DOTALL)
    shown.cpu["gpu1"] = seen(cpu(77.0))
    server.reader.take()
    page.locator("#servers tbody tr", has_text="77 %").wait_for()
    assert "12 %" in row(page, "servers", "gpu0")


def test_a_server_in_trouble_is_an_alert_and_its_figures_have_a_reason(served: Server, visit: Visit) -> None:
    shown = fleet(2)
    server = served(shown=shown)
    page = visit(server)
    page.locator(".alerts", has_text="none").wait_for()
    shown.cpu["gpu1"] = seen(cpu(), age_s=99.0, trouble=Absence.UNREACHABLE)
    shown.gpu["gpu1"] = seen(gpus(gpu()), age_s=99.0, trouble=Absence.HUNG)
    server.reader.take()
    page.locator(".alerts .critical", has_text="gpu1: unreachable").wait_for()
    text = row(page, "servers", "gpu1")
    assert "unreachable" in text
    assert "hung" in text
    assert "%" not in text
    page.locator(".alerts a").click()
    page.locator("h1", has_text="gpu1").wait_for()
    page.locator("#tail em", has_text="unreachable").first.wait_for()


def test_run_page_zooms_by_mouse_and_keyboard_and_keeps_its_place(
    served: Server, visit: Visit, runs: Path
) -> None:
    server = served(paths=(runs,))
    page = visit(server)
    page.get_by_role("link", name="run1").click()
    page.locator("#charts svg.plot .line").first.wait_for()
    assert page.locator(".cause").inner_text().startswith("Killed by the kernel")
    whole = page.locator("#toolbar .range").inner_text()
    surface = page.locator("#chart-loss .surface")
    surface.scroll_into_view_if_needed()
    box = surface.bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 600, box["y"] + 60, steps=3)
    page.mouse.up()
    zoomed = page.locator("#toolbar .range").inner_text()
    assert zoomed != whole
    surface.focus()
    page.keyboard.press("ArrowRight")
    page.locator("#live", has_text="loss").wait_for(state="attached")
    page.keyboard.press("0")
    assert page.locator("#toolbar .range").inner_text() == whole


def test_server_page_goes_on_and_keeps_focus_and_open_tables(served: Server, visit: Visit) -> None:
    shown = fleet(1)
    server = served(shown=shown, every_s=0.5)
    page = visit(server, "/server/0")
    page.locator("#chart-gpu-use svg.plot .line").first.wait_for(state="attached")
    page.locator("#chart-cpu summary").click()
    page.locator("#chart-memory .surface").focus()
    shown.cpu["gpu0"] = seen(cpu(55.0))
    page.locator("#chart-cpu tbody", has_text="55 %").wait_for()
    assert page.evaluate("document.activeElement.closest('.chart').id") == "chart-memory"


def test_names_that_are_programs_stay_text(served: Server, visit: Visit, evil_run: Path) -> None:
    server = served(paths=(evil_run,))
    page = visit(server)
    page.locator("#runs tbody th", has_text="<script>alert(1)</script>").wait_for()
    for path in ("/server/0", "/run/1"):
        page.goto(f"http://127.0.0.1:{server.port}{path}")
        page.locator("#charts svg.plot").first.wait_for()
        assert page.locator("img").count() == 0
    page.goto(f"http://127.0.0.1:{server.port}/server/0")
    page.locator("#tail td", has_text=EVIL_PROCESS.partition("\x1b")[0]).first.wait_for()


def test_chosen_runs_are_compared_by_keyboard(served: Server, visit: Visit, runs: Path) -> None:
    page = visit(served(paths=(runs,)))
    button = page.get_by_role("button", name="Compare the chosen runs")
    for name in ("run1", "run2"):
        assert button.is_disabled()
        page.get_by_label(f"Choose {name} to compare").focus()
        page.keyboard.press("Space")
    button.focus()
    page.keyboard.press("Enter")
    page.locator("h1", has_text="2 runs compared").wait_for()
    page.locator("#chart-loss svg.plot .line").first.wait_for()
    page.get_by_label("epoch").check()
    assert page.locator("#toolbar .range").inner_text() == "epoch 0 to epoch 3"


def test_comparison_follows_its_runs_and_keeps_the_choice_of_axis(
    served: Server, visit: Visit, tmp_path: Path
) -> None:
    for number in (1, 2):
        run = Run(seconds=60, epoch_s=30, seed=number, name=f"run{number}")
        write_history(tmp_path / f"{number}/history.sqlite", run)
    server = served(paths=(tmp_path,), every_s=0.5)
    page = visit(server, "/compare?run=1&run=2")
    page.locator("#chart-loss svg.plot .line").first.wait_for()
    page.get_by_label("epoch").check()
    assert page.locator("#toolbar .range").inner_text() == "epoch 0 to epoch 2"
    # The second run goes on: it trains for another minute.
    write_history(tmp_path / "longer.sqlite", Run(seconds=150, epoch_s=30, seed=2, name="run2"))
    (tmp_path / "longer.sqlite").replace(tmp_path / "2/history.sqlite")
    page.locator("#toolbar .range", has_text="epoch 0 to epoch 5").wait_for(timeout=30_000)
    assert page.get_by_label("epoch").is_checked()


def test_names_are_filtered(served: Server, visit: Visit) -> None:
    page = visit(served(shown=fleet(12)))
    page.get_by_label("Show only names with").fill("gpu1")
    rows = page.locator("#servers tbody tr:visible")
    rows.nth(2).wait_for()
    assert rows.count() == 3


def test_login_by_form_and_no_page_without(served: Server, visit: Visit) -> None:
    page = visit(served(token=TOKEN))
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.locator("#servers tbody tr", has_text="gpu0").wait_for()
    page.get_by_text("live", exact=True).wait_for()
    assert page.evaluate("document.cookie") == ""
    assert TOKEN not in page.url


def test_hidden_page_leaves_its_connection_to_others(served: Server, visit: Visit) -> None:
    server = served()
    page = visit(server)
    page.get_by_text("live", exact=True).wait_for()
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    assert eventually(lambda: server.streams.open == 0)
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: false, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    assert eventually(lambda: server.streams.open == 1)


@pytest.mark.parametrize("path", ["/", "/server/0", "/run/1", "/compare?run=1&run=2", "/login"])
def test_phone_dark_and_no_rule_of_accessibility_is_broken(
    served: Server, visit: Visit, runs: Path, path: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python")
    shown = fleet(2)
    shown.cpu["gpu1"] = seen(cpu(), age_s=99.0, trouble=Absence.UNREACHABLE)
    server = served(paths=(runs,), shown=shown, token=TOKEN if path == "/login" else None)
    for scheme, width in (("light", 1280), ("dark", 360)):
        page = visit(server, path, width, color_scheme=scheme)
        ready = {"/": "#runs tbody tr", "/login": "form"}.get(path, "#charts svg.plot .line")
        page.locator(ready).first.wait_for(state="attached")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # As an inspector would: the policy of the page lets no further script in.
        session = page.context.new_cdp_session(page)
        session.send(
            "Runtime.evaluate", {"expression": files(axe).joinpath("axe.min.js").read_text(encoding="utf-8")}
        )
        result = page.evaluate("axe.run()")
        broken = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in result["violations"]]
        assert broken == []
        assert len(result["passes"]) > 10
