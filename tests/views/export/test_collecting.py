"""From a picture to the text that Prometheus reads."""

import dataclasses
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_open
from prometheus_client.parser import text_string_to_metric_families as parsed

from pylon.monitor import GPUStatus, SystemSnapshot
from pylon.views.export.collecting import PictureCollector, filled
from pylon.views.export.families import FAMILIES, OF_GPU, OF_HOST
from pylon.views.export.picture import Picture
from pylon.views.export.text import metrics_text, written
from pylon.views.sources.servers import GPU_FIGURES, HOST_FIGURES, servers_now
from tests.monitor.statuses import gpu, seen
from tests.views.export.pictures import AT, HOSTILE, cpu, ended, picture, run

GOLDEN = Path(__file__).with_name("golden.prom")
RUN = Path("/runs/a/history.sqlite")


def text_of(shown: Picture) -> str:
    return metrics_text(shown)[0].decode()


def series(shown: Picture) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in parsed(text_of(shown))
        for one in family.samples
    }


def value(shown: Picture, name: str, **labels: str) -> float | None:
    return series(shown).get((f"pylon_{name}", tuple(sorted(labels.items()))))


def names_with(shown: Picture, **labels: str) -> set[str]:
    return {name for name, found in series(shown) if labels.items() <= dict(found).items()}


def everything() -> Picture:
    runs = (run(RUN), ended(Path("/runs/b/history.sqlite"), 60), ended(Path("/runs/c/history.sqlite"), 3600))
    return picture(runs)


def hostile() -> Picture:
    paths = [Path(f"/runs/{HOSTILE}{end}/history.sqlite") for end in ("\n", "\r", "x" * 300, "x" * 301)]
    launch = dataclasses.replace(run(RUN).launch, name=HOSTILE, host=HOSTILE)
    return picture(tuple(run(path, launch=launch, score=(HOSTILE, 1e300), loss=-1e-9) for path in paths))


def test_text_is_as_it_was() -> None:
    text = re.sub(r'(pylon_build_info\{version=)"[^"]+"', r'\1"0.0.0"', text_of(everything()))
    assert text == GOLDEN.read_text()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_own_check_finds_nothing() -> None:
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=metrics_text(everything())[0], capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_openmetrics_is_given_to_those_that_ask_for_it() -> None:
    text, content_type = metrics_text(everything(), "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    found = {one.name for family in parsed_open(text.decode()) for one in family.samples}
    assert found == {name for name, _ in series(everything())}


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("shown", [everything(), Picture(), hostile()], ids=["all", "none", "hostile"])
def test_library_writes_the_same_bytes(shown: Picture, *, is_open: bool) -> None:
    library = generate_openmetrics if is_open else generate_latest
    assert written(filled(shown), is_open=is_open) == library(PictureCollector(lambda: shown))


def test_every_figure_has_a_series_or_is_left_out_on_purpose() -> None:
    own_processes = {name for name in HOST_FIGURES if name.startswith("run_")}
    assert set(HOST_FIGURES) - own_processes == set(OF_HOST)
    elsewhere = {"gpu_throttle_reasons", "gpu_run_memory_used", "gpu_others_memory_used"}
    assert set(GPU_FIGURES) - elsewhere == set(OF_GPU)


@pytest.mark.parametrize(("figures", "places"), [(HOST_FIGURES, OF_HOST), (GPU_FIGURES, OF_GPU)])
def test_units_are_base_units(figures: dict[str, str], places: dict) -> None:
    suffixes = {
        "percent": ("_ratio", 0.01),
        "bytes": ("_bytes", 1.0),
        "bytes_per_second": ("_bytes_per_second", 1.0),
        "celsius": ("_celsius", 1.0),
        "watts": ("_watts", 1.0),
        "joules": ("_joules_total", 1.0),
        "hertz": ("_hertz", 1.0),
        "cores": ("_cores", 1.0),
    }
    for figure, place in places.items():
        if figures[figure] != "count":
            suffix, factor = suffixes[figures[figure]]
            assert (place.family.endswith(suffix), place.factor) == (True, factor), figure


def test_server_with_old_readings_has_no_figure_but_the_time_of_its_last_one() -> None:
    shown = picture()
    assert value(shown, "up", server="far") == 0
    assert value(shown, "monitor_last_success_timestamp_seconds", server="far", monitor="gpu") == AT - 3600
    assert value(shown, "monitor_absent", server="far", monitor="cpu", reason="unreachable") == 1
    assert names_with(shown, server="far") == {
        *("pylon_up", "pylon_gpu_info"),
        *("pylon_monitor_last_success_timestamp_seconds", "pylon_monitor_absent"),
    }


def test_figures_go_when_they_are_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = picture()
    assert value(shown, "gpu_power_watts", server="localhost", uuid="GPU-0") == 250
    later_s = time.monotonic() + 100
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    assert value(shown, "gpu_power_watts", server="localhost", uuid="GPU-0") is None
    assert value(shown, "up", server="localhost") == 0


def test_lost_gpu_is_down_and_has_no_figure() -> None:
    shown = picture()
    assert value(shown, "gpu_up", server="localhost", uuid="GPU-1") == 0
    has = {"pylon_gpu_up", "pylon_gpu_info", "pylon_gpu_xid_last_timestamp_seconds"}
    assert names_with(shown, uuid="GPU-1") == has


def test_xid_has_the_time_of_its_newest_error() -> None:
    shown = picture()
    labels = {"server": "localhost", "uuid": "GPU-1"}
    assert value(shown, "gpu_xid_last_timestamp_seconds", xid="79", **labels) == AT - 30
    assert value(shown, "gpu_xid_last_timestamp_seconds", xid="13", **labels) == AT - 60


def test_unknown_is_absent_and_0_is_0() -> None:
    unknown = picture((run(RUN, step=None, loss=None, wait_s=None, non_finite=None),))
    for name in ("run_step", "run_loss", "run_data_wait_seconds", "run_non_finite_losses"):
        assert value(unknown, name, run="/runs/a") is None, name
    zero = picture((run(RUN, step=0, loss=0.0),))
    assert (value(zero, "run_step", run="/runs/a"), value(zero, "run_loss", run="/runs/a")) == (0, 0)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 10**400])
def test_what_is_no_number_is_absent(wrong: float) -> None:
    shown = picture((run(RUN, loss=wrong),))
    assert value(shown, "run_loss", run="/runs/a") is None
    assert value(shown, "run_step", run="/runs/a") == 99


def test_run_that_ended_keeps_its_end_for_minutes_and_has_no_speed() -> None:
    shown = everything()
    assert value(shown, "run_state", run="/runs/b", state="killed") == 1
    assert value(shown, "run_state", run="/runs/b", state="running") == 0
    end = {"run": "/runs/b", "state": "killed", "cause": "cgroup_oom", "certainty": "confirmed"}
    assert value(shown, "run_end_info", **end) == 1
    assert value(shown, "run_steps_per_second", run="/runs/b") is None
    assert value(shown, "run_steps_per_second", run="/runs/a") == 2
    assert names_with(shown, run="/runs/c") == set(), "it ended an hour ago"


def test_run_whose_record_is_silent_has_no_speed() -> None:
    silent = picture((run(RUN, last_seen=AT - 120),))
    assert value(silent, "run_loss", run="/runs/a") is None
    assert value(silent, "run_last_seen_timestamp_seconds", run="/runs/a") == AT - 120


def test_run_is_joined_to_the_server_that_it_runs_on() -> None:
    def server_of(**fields: str) -> str:
        shown = picture((run(RUN, launch=dataclasses.replace(run(RUN).launch, **fields)),))
        (labels,) = [dict(found) for name, found in series(shown) if name == "pylon_run_info"]
        return labels["server"]

    assert server_of(host="here") == "localhost"
    assert server_of(host="far") == "far"
    assert server_of(host="elsewhere") == ""


def test_hostile_names_break_no_line_and_stay_apart() -> None:
    shown = hostile()
    text = text_of(shown)
    assert "\x1b" not in text
    assert all(line.startswith(("# ", "pylon_")) for line in text.splitlines())
    runs = {dict(found)["run"] for name, found in series(shown) if name == "pylon_run_step"}
    assert len(runs) == len(shown.runs.runs)
    assert max(map(len, runs)) <= 200


def test_no_series_is_there_twice() -> None:
    # A driver that gives two cards one identity, and two paths to one record.
    gpus = GPUStatus(0.0, AT, (gpu(3), gpu(3)))
    snapshot = SystemSnapshot(1, {"localhost": seen(cpu())}, {"localhost": seen(gpus)})
    shown = picture((run(RUN), run(RUN)), servers=servers_now(snapshot, {}, ["localhost"]))
    lines = [line.rpartition(" ")[0] for line in text_of(shown).splitlines() if not line.startswith("#")]
    assert [line for line, count in Counter(lines).items() if count > 1] == []


def test_time_of_a_reading_is_the_same_at_each_look() -> None:
    now_s = time.monotonic()
    snapshot = SystemSnapshot(1, {"localhost": seen(cpu(), 1.0)})
    servers = servers_now(snapshot, {}, ["localhost"])
    name = "monitor_last_success_timestamp_seconds"
    first, second = (
        value(Picture(servers, at=AT + s, monotonic_s=now_s + s), name, server="localhost", monitor="cpu")
        for s in (0.0, 1.7)
    )
    assert first == second


def test_page_lists_every_metric() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/export.md").read_text(encoding="utf-8")
    rows = {
        f"pylon_{name}{'_info' * (family.kind == 'info')}": f"{', '.join(family.labels)} | {family.help}"
        for name, family in FAMILIES.items()
    }
    assert dict(re.findall(r"^\| `(pylon_\w+)` \| (.*) \|$", page, re.M)) == rows


def test_nothing_known_is_a_valid_answer() -> None:
    assert "pylon_records_unreadable 0.0" in text_of(Picture())
