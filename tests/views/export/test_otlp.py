"""OpenTelemetry: what arrives, and that no collector holds the end of anything.

Without the extra the tests are skipped, or fail if PYLON_REQUIRE_OTLP=1 is set.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pylon.command import main
from pylon.extras import missing_extra
from pylon.monitor import MonitorSettingError
from pylon.views.export import otlp
from pylon.views.export.otlp import OTLPSender, endpoint_of
from tests.views.export.pictures import AT, picture, run

REPOSITORY = Path(__file__).resolve().parents[3]
HAS_EXTRA = importlib.util.find_spec("opentelemetry") is not None
if not HAS_EXTRA and os.environ.get("PYLON_REQUIRE_OTLP") == "1":
    pytest.fail("the extra 'otlp' is not installed")
needs_extra = pytest.mark.skipif(not HAS_EXTRA, reason="the extra 'otlp' is not installed")


class Collector(ThreadingHTTPServer):
    """Answers as `mode` says: ok, refuses, garbage, silent, drips."""

    daemon_threads = True
    mode = "ok"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.bodies: list[bytes] = []
        self.asked = threading.Event()
        self.over = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        self.server.asked.set()
        mode = self.server.mode
        if mode == "garbage":
            self.wfile.write(b"\x00\xff\r\n\r\n")
            return
        if mode == "silent":
            self.server.over.wait(60)
            return
        self.send_response(400 if mode == "refuses" else 200)
        self.send_header("Content-Length", "1000000" if mode == "drips" else "0")
        self.end_headers()
        while mode == "drips" and not self.server.over.wait(0.1):
            self.wfile.write(b"x")
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """No log."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield made
        finally:
            made.over.set()
            made.shutdown()
            thread.join()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began_s = time.monotonic()
    yield
    assert time.monotonic() - began_s < seconds


@needs_extra
@pytest.mark.ci
def test_collector_gets_every_figure(collector: Collector) -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    with OTLPSender(endpoint_of(collector.url)) as sender:
        assert sender.give(picture((run(Path("/runs/a/history.sqlite")),))) == ""
        assert sender.end(is_done=True)
    (resource,) = ExportMetricsServiceRequest.FromString(collector.bodies[0]).resource_metrics
    named = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert (named["service.name"], named["host.name"]) == ("pylon", "here")
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    (step,) = metrics["pylon_run_step"].gauge.data_points
    assert (step.as_double, step.time_unix_nano) == (99, AT * 1e9)
    assert {one.key: one.value.string_value for one in step.attributes} == {"run": "/runs/a"}
    energy = metrics["pylon_gpu_energy_joules"].sum
    assert (energy.is_monotonic, energy.aggregation_temporality) == (True, 2)
    assert energy.data_points[0].as_double == 1e6
    assert metrics["pylon_run_info"].gauge.data_points[0].as_double == 1
    assert [one.attributes[1].value.string_value for one in metrics["pylon_gpu_up"].gauge.data_points] == [
        "GPU-0",
        "GPU-1",
    ]


@needs_extra
@pytest.mark.ci
@pytest.mark.parametrize("mode", ["refuses", "garbage", "silent", "drips"])
def test_collector_that_misbehaves_holds_no_end(mode: str, collector: Collector) -> None:
    collector.mode = mode
    with within(20), OTLPSender(endpoint_of(collector.url)) as sender:
        sender.give(picture())
        assert collector.asked.wait(15), "the fault took effect"
        began_s = time.monotonic()
        for _ in range(20):
            sender.give(picture())
        assert time.monotonic() - began_s < 1, "giving never waits"
        with within(0.5):
            sender.end(is_done=False)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 2, "nor does the end"
    assert sender._process.poll() is not None, "the process is gone"


@needs_extra
@pytest.mark.ci
@pytest.mark.parametrize("mode", ["refuses", "garbage"])
def test_what_was_not_accepted_is_reported_once(
    mode: str, collector: Collector, capfd: pytest.CaptureFixture[str]
) -> None:
    collector.mode = mode
    with within(30), OTLPSender(endpoint_of(collector.url)) as sender:
        sender.give(picture())
        assert not sender.end(is_done=True)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"pylon export: --otlp: {collector.url}/v1/metrics accepts no metrics")


@needs_extra
@pytest.mark.ci
def test_collector_that_is_down_is_named_and_costs_the_exit_code(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pylon", "export", "--no-gpu", "--interval-s", "0.5", "--count", "1"]
    command += ["--otlp", f"http://user:secret@127.0.0.1:{port}"]
    with within(40):
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    assert "accepts no metrics" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


@needs_extra
@pytest.mark.ci
def test_signal_ends_the_command_while_the_collector_is_silent(collector: Collector) -> None:
    collector.mode = "silent"
    command = [
        sys.executable,
        "-m",
        "pylon",
        "export",
        "--no-gpu",
        "--interval-s",
        "0.5",
        "--otlp",
        collector.url,
    ]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        assert collector.asked.wait(60)
        process.send_signal(signal.SIGTERM)
        with within(6):
            assert process.wait(20) == 143
    finally:
        process.kill()
        process.wait()


@needs_extra
@pytest.mark.ci
def test_process_that_was_killed_is_replaced(collector: Collector) -> None:
    with OTLPSender(endpoint_of(collector.url)) as sender:
        sender.give(picture())
        assert collector.asked.wait(15)
        sender._process.kill()
        sender._process.wait()
        assert "has ended (-9)" in sender.give(picture())
        assert sender.end(is_done=True)
    assert len(collector.bodies) == 2


def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp.importlib.metadata, "version", lambda _: "1.0")
    for wrong in ("localhost:4318", "ftp://a", "http://", "http://a:99999", "http://[", "http://u:secret@"):
        with pytest.raises(MonitorSettingError, match="expected an address such as") as refused:
            endpoint_of(wrong)
        assert "secret" not in str(refused.value)
    assert endpoint_of("http://a:4318/") == "http://a:4318/v1/metrics"
    assert endpoint_of("https://a/own/path") == "https://a/own/path"


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def absent(name: str) -> str:
        raise otlp.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(otlp.importlib.metadata, "version", absent)
    assert main(["export", "--otlp", "http://localhost:4318"]) == 2
    assert "pip install 'pylon-runner[otlp]'" in capsys.readouterr().err
    prometheus = missing_extra(ModuleNotFoundError(name="prometheus_client.core"))
    assert "pip install 'pylon-runner[export]'" in str(prometheus)
