"""The page as a file: whole, small, closed to the network, and safe whatever a run's text is."""

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pylon.recorder.report.making import read_report
from pylon.recorder.report.page.markup import json_in_script, text
from tests.recorder.synthetic import EVIL, Run, write_history


def page_of(record: Path) -> str:
    report = read_report([record])
    try:
        return report.page()
    finally:
        report.close()


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    view: dict[str, Any] = json.loads(found[1])["views"][0]
    return view


@pytest.fixture(scope="module")
def page(killed: Path) -> str:
    return page_of(killed)


def test_policy_allows_its_own_script_and_style_alone(page: str) -> None:
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])  # type: ignore[index]
    inline = {
        "script-src": re.findall(r"<script>(.*?)</script>", page, re.S),
        "style-src": re.findall(r"<style>(.*?)</style>", page, re.S),
    }
    for directive, parts in inline.items():
        assert len(parts) == 1
        digest = base64.b64encode(hashlib.sha256(parts[0].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"unsafe|https?:", policy)


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    assert not re.search(r"(?:src|href)\s*=|@import|url\((?!#)", page)
    assert re.findall(r"https?://[^\s\"'`]+", page) == ["http://www.w3.org/2000/svg"], "a name, no address"


def test_text_of_the_run_stays_text(page: str) -> None:
    assert page.count("<script") == 2
    assert html.escape("</script><script>alert(1)</script>") in page
    assert "\x1b" not in page
    assert "\u2028" not in page


def test_json_in_a_page_cannot_end_its_element() -> None:
    shown = json_in_script({"name": EVIL, "<!--": "&amp;"})
    assert not set(shown) & set("<>&\u2028\u2029")
    assert json.loads(shown) == {"name": EVIL, "<!--": "&amp;"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_in_script([float("nan")])


def test_attribute_cannot_be_left() -> None:
    assert text("a\" onload='x' <b>\x07") == "a&quot; onload=&#x27;x&#x27; &lt;b&gt;?"


def test_charts_have_each_gpu_its_gap_and_reason(page: str) -> None:
    charts = {chart["id"]: chart for chart in data_of(page)["charts"]}
    use = charts["gpu-use"]
    assert [line["name"] for line in use["lines"]] == ["GPU 0", "GPU 1"]
    gap = use["lines"][1]["gaps"][0]
    assert gap[2] == "the device is gone (lost)"
    assert gap[1] - gap[0] == pytest.approx(180, abs=2)
    limits = [line["name"] for line in charts["memory-run"]["lines"] if line["kind"] == "limit"]
    assert limits == ["limit of the control group"]
    assert {"loss", "scores", "steps", "cpu", "disk", "network"} <= charts.keys()


def test_events_mark_epochs_validation_saves_alerts_and_the_death(page: str) -> None:
    view = data_of(page)
    kinds = {mark["kind"] for mark in view["marks"]}
    assert {"epoch", "validation", "checkpoint", "alert", "death"} <= kinds
    lanes = {lane["name"]: lane["items"] for lane in view["lanes"]}
    assert lanes["Run"][-1]["text"].startswith("Killed by the kernel")
    assert [item["text"] for item in lanes["Epochs"]] == ["epoch 0", "epoch 1", "epoch 2"]
    assert lanes["Verdict"][0]["text"] == "GPU-bound"


def test_times_are_given_for_the_zone_of_the_reader(page: str) -> None:
    assert '<time datetime="2026-09-21T14:23:20Z">' in page


def test_page_of_a_day_with_eight_gpus_is_small(tmp_path: Path) -> None:
    day = Run(seconds=86_400, every_s=40.0, gpus=8, step_s=4.0, epoch_s=1800)
    page = page_of(write_history(tmp_path / "history.sqlite", day))
    view = data_of(page)
    assert [grid["count"] for grid in view["grids"]] == [1000, 600]
    assert len(page.encode()) < 1_000_000


def test_line_that_is_off_the_end_of_a_chart_is_named(tmp_path: Path) -> None:
    page = page_of(write_history(tmp_path / "history.sqlite", Run(seconds=20, gpus=18)))
    chart = next(one for one in data_of(page)["charts"] if one["id"] == "gpu-use")
    assert (len(chart["lines"]), chart["note"]) == (16, "The first 16 of 18 lines.")
