"""A real Prometheus: it scrapes, and every query of the dashboard and of the alerts has an answer."""

import dataclasses
import itertools
import json
import re
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pylon.monitor import CgroupSample, GPUStatus, MonitorHealth, MonitorState, SystemSnapshot, XidEvent
from pylon.recorder.history import AlertRow
from pylon.views.access import Access, Address
from pylon.views.export.picture import Picture
from pylon.views.export.server import MetricsServer
from pylon.views.sources.board import Runs
from pylon.views.sources.servers import servers_now
from tests.monitor.statuses import seen
from tests.views.export.pictures import cpu, ended, fine_gpu, lost_gpu, picture, run
from tests.views.export.queries import alert_queries, dashboard_queries
from tests.views.export.required import program

pytestmark = pytest.mark.ci

REPOSITORY = Path(__file__).resolve().parents[3]
ALERTS = REPOSITORY / "views/export/shipped/alerts.yml"
TOKEN = "0123456789abcdef0123456789abcdef"


def in_trouble() -> Callable[[], Picture]:
    """Pictures in which each alert has its reason; counters grow from one to the next."""
    count = itertools.count()

    def taken() -> Picture:
        at, n = time.time(), next(count)
        group = CgroupSample(
            *(2, 98), memory_limit_bytes=100, memory_limit_used_bytes=98, oom_kills=n, io_pressure_percent=1.0
        )
        hot = fine_gpu(
            0, temperature_c=95.0, throttle_names=("hw_thermal_slowdown",), ecc_uncorrected_errors=n
        )
        base = picture()
        xids = (XidEvent(0.0, at - 30, "GPU-1", 79),)
        gpus = GPUStatus(0.0, at, (hot, lost_gpu(1)), driver_version="580.1", xid_events=xids)
        snapshot = SystemSnapshot(
            1, {"localhost": seen(cpu(cgroup=group)), "far": seen(cpu(), 3600.0)}, {"localhost": seen(gpus)}
        )
        health = {"CPUMonitor": MonitorHealth(MonitorState.OK, restarts=5 * n)}
        bad = AlertRow(1, "memory_runs_out", "critical", at - 60, "soon")
        runs = (
            run(Path("/runs/nan/history.sqlite"), at, non_finite=3, alerts=(bad,)),
            run(Path("/runs/stuck/history.sqlite"), at, step_at=at - 1000),
            run(Path("/runs/silent/history.sqlite"), at, last_seen=at - 400),
            ended(Path("/runs/killed/history.sqlite"), 60, at),
        )
        servers = servers_now(snapshot, health, ["localhost", "far"])
        changed = {"servers": servers, "monitors": health, "runs": Runs(runs, ("absent",))}
        return dataclasses.replace(base, at=at, monotonic_s=time.monotonic(), **changed)

    return taken


class Prometheus:
    """A running one.

    Args:
        address: where it answers.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self._address}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, text: str) -> Any:
        return self.get("query?" + urllib.parse.urlencode({"query": text}))["result"]

    def has_scraped(self) -> bool:
        try:
            return len(self.query("count_over_time(up[1m]) > 4")) == 2
        except OSError:
            return False


@contextmanager
def running(command: list[str], **settings: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, text=True, **settings)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def written(folder: Path, targets: dict[str, str], token: Path) -> None:
    """The configuration, and the alert rules that are shipped."""
    jobs = [
        f"  - job_name: {name}\n    authorization: {{credentials_file: {token}}}\n"
        f"    static_configs: [{{targets: ['{urllib.parse.urlsplit(url).netloc}']}}]\n"
        for name, url in targets.items()
    ]
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{ALERTS}]\nscrape_configs:\n{''.join(jobs)}"
    )


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It scrapes invented troubles, and this machine with a token."""
    folder, token = tmp_path_factory.mktemp("prometheus"), tmp_path_factory.mktemp("token") / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    loopback = Address.of("127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["config.file=prometheus.yml", "storage.tsdb.path=data", f"web.listen-address={address}"]
    export = [sys.executable, "-m", "pylon", "export", "--port", "0", "--token-file", str(token)]
    with (
        MetricsServer(loopback, Access.of(loopback, (), token), in_trouble()) as server,
        server.answering(),
        running(export, cwd=REPOSITORY, stdout=subprocess.PIPE) as real,
    ):
        assert real.stdout is not None
        url = real.stdout.readline().strip()
        real.stdout.close()
        written(folder, {"invented": server.url, "real": url}, token)
        command = [program("prometheus"), *(f"--{option}" for option in options)]
        with running(command, cwd=folder, stderr=subprocess.DEVNULL):
            found = Prometheus(address)
            until_s = time.monotonic() + 60
            while not found.has_scraped() and time.monotonic() < until_s:
                time.sleep(0.2)
            yield found


def test_this_machine_is_scraped_with_the_token(prometheus: Prometheus) -> None:
    (up,) = prometheus.query('up{job="real"}')
    assert up["value"][1] == "1"
    (memory,) = prometheus.query('pylon_memory_total_bytes{job="real", scope="host"}')
    assert float(memory["value"][1]) > 1e8
    (age,) = prometheus.query(
        'time() - pylon_monitor_last_success_timestamp_seconds{job="real", monitor="cpu"}'
    )
    assert -1 < float(age["value"][1]) < 30


@pytest.mark.parametrize("title", dashboard_queries())
def test_panel_has_data(prometheus: Prometheus, title: str) -> None:
    assert prometheus.query(dashboard_queries()[title]), dashboard_queries()[title]


@pytest.mark.parametrize("name", sorted(set(alert_queries()) - {"PylonExporterGone"}))
def test_alert_finds_its_reason(prometheus: Prometheus, name: str) -> None:
    assert prometheus.query(alert_queries()[name]), alert_queries()[name]


def test_rules_are_loaded_and_fire(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == set(alert_queries())
    assert {rule["health"] for rule in rules} == {"ok"}
    firing = {rule["name"] for rule in rules if rule["state"] == "firing"}
    assert {"PylonOOMKill", "PylonRunEnded", "PylonRunAlert", "PylonGPUMemoryErrors"} <= firing
    assert "PylonExporterGone" not in {rule["name"] for rule in rules if rule["state"] != "inactive"}


def test_page_s_query_joins_runs_and_servers(prometheus: Prometheus) -> None:
    page = (REPOSITORY / "docs/export.md").read_text(encoding="utf-8")
    for query in re.findall(r"```promql\n(.*?)```", page, re.S):
        assert prometheus.query(query), query
