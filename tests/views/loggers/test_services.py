"""The real packages: what arrives, and what a service costs that is down, slow, or answers nonsense."""

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pylon.command import main
from pylon.views.loggers import Entry, Picture
from pylon.views.loggers.forward import Forward, Outcome, Wishes
from pylon.views.loggers.link import LinkError, ProcessLink, environment
from pylon.views.loggers.names import LOGGERS, class_of
from tests.views.loggers.records import add_launch, all_entries, points
from tests.views.loggers.services import (
    SERVICES,
    Content,
    MLflow,
    Points,
    Service,
    TensorBoard,
    WandbOffline,
    WandbOnline,
    require,
)
from tests.views.loggers.wandb_server import Hosted, wandb_server

# What the libraries warn of is their own.
pytestmark = [pytest.mark.ci, pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore")]


AT_ONCE = Wishes(False, lambda: False, 0.0, lambda seconds: False)


class Killed(BaseException):
    """The sender is killed."""


class LinkOfKilled(ProcessLink):
    """The second part is sent, or is being sent, when both processes are killed.

    Args:
        midway: the logger's process is killed while it sends.
    """

    midway = False
    _sent = 0

    def send(self, entries: Sequence[Entry], *, again: bool) -> dict[str, Any]:
        self._sent += 1
        if self._sent < 2:
            return super().send(entries, again=again)
        process = self._process
        assert process is not None
        timer = threading.Timer(0.1, process.kill)
        if self.midway:
            timer.start()
        try:
            super().send(entries, again=again)
        except LinkError:
            assert self.midway
        timer.cancel()
        process.kill()
        raise Killed


@pytest.fixture(params=SERVICES, ids=lambda one: one.__name__)
def service(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    require(request.param.library)
    found: Service = request.param(tmp_path)
    if not isinstance(found, WandbOnline):
        yield found
        return
    found.hosted = Hosted()
    with wandb_server(found.hosted) as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        yield found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Files that a library writes to the working folder.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    add_launch(tmp_path / "run/history.sqlite", seconds=3600, width_s=10, ending=("killed", "sigkill"))
    (tmp_path / "run/curves.png").write_bytes(_png())
    return tmp_path / "run"


def forward(
    run: Path, service: Service, link: type[ProcessLink] = ProcessLink, wishes: Wishes = AT_ONCE
) -> Forward:
    cls, arguments = class_of(service.name), service.arguments()
    log = run / "loggers/log"
    log.parent.mkdir(exist_ok=True)
    made = link(LOGGERS[service.name], arguments, log, 90.0, 200.0)
    return Forward(
        run / "history.sqlite", service.name, arguments, made, wishes, by_closing=cls.CONFIRMS_BY_CLOSING
    )


def assert_has(service: Service, run: Path) -> Content:
    content = service.read(run)
    own = [(*one[:2], round(one[2], 3), one[3]) for one in content.points if _is_of_the_run(one[0])]
    wanted: Points = points(all_entries(run / "history.sqlite"))
    assert [one[:3] for one in sorted(own)] == [one[:3] for one in wanted], "each point, once"
    assert [one[3] for one in sorted(own)] == pytest.approx([one[3] for one in wanted], rel=1e-4, abs=1e-6)
    return content


def _is_of_the_run(name: str) -> bool:
    return name.startswith(("train/", "score/", "system/"))


@pytest.mark.parametrize("midway", [False, True], ids=["after", "while"])
def test_killed_and_resumed_run_has_each_point_once(
    run: Path, service: Service, midway: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LinkOfKilled, "midway", midway)
    with pytest.raises(Killed):
        forward(run, service, LinkOfKilled).run()
    assert forward(run, service).run() is Outcome.SENT
    content = assert_has(service, run)
    assert (content.pictures, content.state, content.configuration) == (["curves"], "killed: sigkill", 1)

    add_launch(run / "history.sqlite", begin_s=5000, first_step=3000, seconds=700, width_s=10)
    assert forward(run, service).run() is Outcome.SENT
    assert assert_has(service, run).state == "finished: clean"


def test_run_at_wandb_is_finished_when_its_launch_has_ended_and_not_when_a_session_has(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("wandb")
    monkeypatch.setattr("pylon.views.loggers.forward._SESSION_ENTRIES", 10)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    service = WandbOnline(run.parent)
    service.hosted = Hosted()
    with wandb_server(service.hosted) as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        assert main(["log", str(run), "--to", "wandb"]) == 0
    assert_has(service, run)
    assert service.hosted.exit_codes == [1], "killed"


def test_missing_key_of_wandb_is_an_error_at_once_with_the_fix(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(run.parent))  # which has no .netrc
    assert main(["log", str(run), "--to", "wandb"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pylon log: wandb: No API key configured. ")
    assert line.endswith("Run `wandb login`, or set WANDB_API_KEY or WANDB_MODE=offline")


def test_own_server_of_mlflow_gets_everything_once_it_is_there(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    require("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    store = f"sqlite:///{run.parent / 'mlflow.db'}"
    command = [sys.executable, "-m", "mlflow", "server", f"--port={port}", "--workers=1"]
    servers: list[subprocess.Popen[bytes]] = []

    def waits(seconds: float) -> bool:
        if seconds > 0 and not servers:
            servers.append(
                subprocess.Popen(
                    [*command, "--backend-store-uri", store],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
        time.sleep(min(seconds, 1.0))
        return False

    service = MLflow(run.parent)
    monkeypatch.setattr(service, "arguments", lambda: {"tracking_uri": f"http://127.0.0.1:{port}"})
    monkeypatch.setattr("pylon.views.loggers.forward._LONGEST_PAUSE_S", 2.0)
    try:
        wishes = Wishes(False, lambda: False, 200.0, waits)
        assert forward(run, service, wishes=wishes).run() is Outcome.SENT
        assert "mlflow: not sent yet: " in caplog.text
        assert_has(service, run)
    finally:
        for server in servers:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


class _StandIn(http.server.BaseHTTPRequestHandler):
    """Answers nothing, nonsense, or an error."""

    manner = "wrong"

    def do_POST(self) -> None:
        if self.manner == "slow":
            time.sleep(30)
            return
        body = b"[<html>"
        self.send_response(500 if self.manner == "error" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - as http.server has it

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(params=["down", "slow", "wrong", "error"])
def bad_server(request: pytest.FixtureRequest) -> Iterator[str]:
    handler = type("Handler", (_StandIn,), {"manner": request.param})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    address = f"http://127.0.0.1:{server.server_port}"
    if request.param == "down":
        server.server_close()
        yield address
        return
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield address
    server.shutdown()
    server.socket.close()
    thread.join()


@pytest.mark.parametrize("kind", [MLflow, WandbOffline], ids=lambda one: one.name)
def test_service_in_trouble_costs_a_bounded_time_and_gets_everything_later(
    run: Path,
    kind: type[Service],
    bad_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    require(kind.library)
    service = kind(run.parent)
    monkeypatch.setattr("pylon.views.cli.log._OPEN_WITHIN_S", 12.0)
    # The same logger each time: what its service is, comes from the environment.
    monkeypatch.setattr(kind, "arguments", lambda self: {})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", bad_server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.setenv("WANDB_BASE_URL", bad_server)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    began_s = time.monotonic()
    assert main(["log", str(run), "--to", service.name, "--patience=0"]) == 1
    assert time.monotonic() - began_s < 60
    assert f"{service.name}: not all is sent" in capsys.readouterr().err
    monkeypatch.setattr("pylon.views.cli.log._OPEN_WITHIN_S", 200.0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{run.parent / 'mlflow.db'}")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(["log", str(run), "--to", service.name]) == 0
    assert_has(service, run)


def test_first_example_of_the_page_sends_a_record(tmp_path: Path) -> None:
    require("tensorboardX")
    page = (Path(__file__).resolve().parents[3] / "docs/loggers.md").read_text(encoding="utf-8")
    script = page.split("```sh\n")[1].split("```")[0]
    script = "".join(line for line in script.splitlines(keepends=True) if not line.startswith("pip "))
    shell = f'pylon() {{ "{sys.executable}" -P -m pylon "$@"; }}\nset -e\n'
    # A system may have `python3` alone.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", shell + script],
        cwd=tmp_path,
        env={**environment(), "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tensorboard: all of " in done.stdout
    content = TensorBoard(tmp_path).read(tmp_path / "runs/first")
    assert content.state == "finished: clean"


def test_pictures_of_the_entries_are_files(run: Path) -> None:
    (picture,) = [one for one in all_entries(run / "history.sqlite") if isinstance(one, Picture)]
    assert Path(picture.path).read_bytes() == _png()


def _png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return len(content).to_bytes(4) + checked + zlib.crc32(checked).to_bytes(4)

    header = (1).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compress(b"\0\xff\0\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
