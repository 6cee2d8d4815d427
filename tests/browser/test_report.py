"""The report's page as people use it: mouse, keyboard, screen reader, dark, phone, paper."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Opener

pytestmark = pytest.mark.ci


def surface(page: Any, chart: str) -> Any:
    return page.locator(f"#chart-{chart} .surface")


def point(page: Any, chart: str, share: float) -> None:
    """Move the mouse over a chart, to a share of its width."""
    surface(page, chart).scroll_into_view_if_needed()
    box = surface(page, chart).bounding_box()
    page.mouse.move(box["x"] + 62 + (box["width"] - 74) * share, box["y"] + 80)


def values(page: Any, chart: str) -> list[str]:
    return page.locator(f"#chart-{chart} span.value").all_inner_texts()


def shown_range(page: Any) -> str:
    return str(page.locator("#toolbar .range").inner_text())


def test_head_has_cause_advice_and_times_in_the_zone_of_the_reader(killed: Path, opened: Opener) -> None:
    page = opened(killed)
    assert page.locator(".cause").inner_text().startswith("Killed by the kernel")
    assert page.locator(".advice").inner_text() == "Ask for more memory."
    began = page.locator("dd time").first.inner_text()
    assert "23:13:20" in began, "14:13:20 UTC in Tokyo"
    assert page.locator("h1").inner_text() == "</script><script>alert(1)</script>??[31mred", "text stays text"
    assert page.evaluate("document.scripts.length") == 2


def test_cursor_is_shared_by_all_charts(killed: Path, opened: Opener) -> None:
    page = opened(killed)
    point(page, "cpu", 0.5)
    assert re.fullmatch(r"[\d.]+ %( \(.*\))?", values(page, "cpu")[0])
    assert all(re.match(r"[\d.]+ %", one) for one in values(page, "gpu-use"))
    assert re.search(r"epoch [12]\b.*Input-bound", page.locator(".events .readout").inner_text())


def test_gap_shows_its_reason_and_never_zero(killed: Path, opened: Opener) -> None:
    page = opened(killed)
    point(page, "gpu-use", 0.85)
    first, lost = values(page, "gpu-use")
    assert re.match(r"[\d.]+ %", first)
    assert lost == "the device is gone (lost)"
    assert page.locator("#chart-gpu-use rect.gap").count() == 1


def test_drag_zooms_all_charts_and_double_click_shows_all(killed: Path, opened: Opener) -> None:
    page = opened(killed)
    whole = shown_range(page)
    ticks = page.locator("#chart-loss .axes text").all_inner_texts()
    point(page, "cpu", 0.4)
    page.mouse.down()
    box = surface(page, "cpu").bounding_box()
    page.mouse.move(box["x"] + 62 + (box["width"] - 74) * 0.6, box["y"] + 90, steps=3)
    page.mouse.up()
    assert shown_range(page) != whole
    assert page.locator("#chart-loss .axes text").all_inner_texts() != ticks
    surface(page, "cpu").dblclick()
    assert shown_range(page) == whole


def test_last_minutes_button(killed: Path, opened: Opener) -> None:
    page = opened(killed)
    page.get_by_role("button", name="Show the last 10 min").click()
    assert re.search(r"00:03:20 to .* 00:13:20", shown_range(page))


def test_keyboard_moves_zooms_and_is_announced(killed: Path, opened: Opener) -> None:
    page = opened(killed)
    surface(page, "memory-run").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    live = page.locator("#live", has_text="limit of the control group 64 GiB")
    live.wait_for(state="attached")
    first = live.inner_text()
    page.keyboard.press("Shift+ArrowRight")
    live.filter(has_not_text=first).wait_for(state="attached")
    whole = shown_range(page)
    page.keyboard.press("+")
    assert shown_range(page) != whole
    page.keyboard.press("0")
    assert shown_range(page) == whole
    page.keyboard.press("Escape")
    assert set(values(page, "memory-run")) == {""}


def test_table_behind_a_chart_follows_the_zoom(killed: Path, opened: Opener) -> None:
    page = opened(killed)
    page.locator("#chart-gpu-use summary").click()
    rows = page.locator("#chart-gpu-use tbody tr")
    rows.nth(29).wait_for()
    assert rows.count() == 30
    assert "the device is gone (lost)" in rows.last.inner_text()
    before = rows.first.inner_text()
    surface(page, "gpu-use").focus()
    page.keyboard.press("End")
    page.keyboard.press("+")
    assert rows.first.inner_text() != before
    page.locator(".events summary").click()
    page.locator(".events tbody", has_text="Killed by the kernel").wait_for()


def test_line_that_is_pointed_at_in_the_legend_stands_out(killed: Path, opened: Opener) -> None:
    page = opened(killed)
    page.locator("#chart-gpu-use .legend button").first.hover()
    assert page.locator("#chart-gpu-use .curves path.line.behind").count() == 1
    page.locator("#chart-gpu-use h3").hover()
    assert page.locator("#chart-gpu-use .curves path.line.behind").count() == 0


def test_line_is_hidden_and_loss_is_logarithmic_on_request(killed: Path, opened: Opener) -> None:
    page = opened(killed)
    page.get_by_role("button", name="GPU 0", exact=True).first.click()
    assert page.locator("#chart-gpu-use path.line").count() == 3, "two in the legend, one drawn"
    before = page.locator("#chart-loss path.line").last.get_attribute("d")
    page.locator("#chart-loss .head button").click()
    assert page.locator("#chart-loss path.line").last.get_attribute("d") != before


def test_dark_phone_and_print(killed: Path, opened: Opener) -> None:
    dark = opened(killed, color_scheme="dark")
    ground = dark.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(20, 23, 27)"
    phone = opened(killed, width=360, has_touch=True, is_mobile=True)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    phone.locator("#chart-cpu .surface").scroll_into_view_if_needed()
    dark.emulate_media(media="print", color_scheme="light")
    assert not dark.locator("#toolbar").is_visible()
    assert dark.locator("#chart-cpu svg.plot").is_visible()


def test_comparison_changes_its_axis(compared: Path, opened: Opener) -> None:
    page = opened(compared)
    assert shown_range(page).startswith("step 0")
    page.get_by_label("epoch").check()
    assert shown_range(page) == "epoch 0 to epoch 3"
    page.get_by_label("time since the start").check()
    assert "2 min" in shown_range(page)
    assert page.locator("#chart-gpu-use").is_visible()
    assert page.locator("#chart-loss .band").count() >= 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(scheme: str, killed: Path, opened: Opener) -> None:
    axe = pytest.importorskip("axe_playwright_python")
    page = opened(killed, color_scheme=scheme)
    page.locator("#chart-cpu summary").click()
    page.evaluate(files(axe).joinpath("axe.min.js").read_text(encoding="utf-8"))
    result = page.evaluate("axe.run()")
    broken = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in result["violations"]]
    assert broken == []
    assert len(result["passes"]) > 15
