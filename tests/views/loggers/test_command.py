"""`pylon log`, and the process that follows a run, with a logger whose service is a file."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pylon.command import main
from pylon.recorder.channel import start_ticks
from pylon.views.loggers.link import environment, python
from pylon.views.loggers.position import entry_of
from pylon.views.loggers.start import follow_run
from tests.views.loggers.records import FILE_LOGGER, add_launch, all_entries


@pytest.fixture
def run(tmp_path: Path) -> Path:
    add_launch(tmp_path / "run/history.sqlite")
    return tmp_path / "run"


def assert_sent(run: Path) -> None:
    lines = (run / "lines.jsonl").read_text().splitlines()
    assert list(map(entry_of, map(json.loads, lines))) == all_entries(run / "history.sqlite")


def eventually(holds: Callable[[], bool], within_s: float = 30.0) -> bool:
    until_s = time.monotonic() + within_s
    while not holds() and time.monotonic() < until_s:
        time.sleep(0.05)
    return holds()


@pytest.fixture(autouse=True)
def former_handlers() -> object:
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


def test_record_is_sent_in_another_process_and_once(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["log", str(run), "--to", FILE_LOGGER]) == 0
        assert_sent(run)
        output = capsys.readouterr()
        assert output.out.startswith(f"{FILE_LOGGER}: all of {run / 'history.sqlite'} is sent, ")
        assert output.err == ""


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("raise", "ConnectionError: the service is down"),
        ("exit", "its process has ended"),
        ("hang", "no answer"),
    ],
)
def test_logger_in_trouble_is_named_and_gets_everything_later(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trouble: str, reason: str
) -> None:
    monkeypatch.setattr("pylon.views.cli.log._OPEN_WITHIN_S", 1.0 if trouble == "hang" else 60.0)
    (run / "trouble").write_text(trouble)
    command = ["log", str(run), "--to", FILE_LOGGER, "--option", f"trouble={run / 'trouble'}", "--patience=0"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert reason in error
    assert f"`pylon log {run} --to {FILE_LOGGER}" in error, "how to send the rest"
    monkeypatch.undo()
    (run / "trouble").unlink()
    assert main(command) == 0
    assert_sent(run)


def test_what_another_try_cannot_change_is_an_error_at_once(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "trouble").write_text("refuse")
    assert main(["log", str(run), "--to", FILE_LOGGER, "--option", f"trouble={run / 'trouble'}"]) == 1
    assert "TypeError: no such user" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--to", "tensorbord"],
            (1, "'tensorbord' is no logger: expected one of tensorboard, wandb, mlflow"),
        ),
        (["--to", "json:loads"], (1, "'json:loads' is no subclass of Logger")),
        (["--to", "absent.module:Name"], (1, "'absent.module:Name' is not found")),
        (["--to", "mlflow", "--option", "uri=x"], (2, "no option 'uri', expected one of: tracking_uri")),
        (["--to", "wandb", "--option", "mode=never"], (2, "mode: 'never', expected 'online' or 'offline'")),
    ],
)
def test_wrong_logger_is_named_with_what_is_expected(
    run: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    expected: tuple[int, str],
) -> None:
    monkeypatch.setattr("pylon.views.loggers.names.absence_of", lambda cls: None)
    code, text = expected
    assert main(["log", str(run), *arguments]) == code
    assert text in capsys.readouterr().err


def test_absent_library_is_an_error_that_names_the_extra(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["log", str(run), "--to", "wandb"]) == 2
    assert "needs 'wandb', which is not installed" in (error := capsys.readouterr().err)
    assert "pip install 'pylon-runner[wandb]'" in error


def test_absent_record_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", str(tmp_path), "--to", FILE_LOGGER]) == 1
    assert f"{tmp_path}: no history.sqlite in it" in capsys.readouterr().err


def test_two_processes_do_not_send_the_same_record(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "trouble").write_text("hang")
    command = ["log", str(run), "--to", FILE_LOGGER, "--option", f"trouble={run / 'trouble'}"]
    first = subprocess.Popen([*python("pylon"), *command], env=environment())
    lock = run / "loggers" / f"{FILE_LOGGER.replace(':', '.')}.lock"
    try:
        assert eventually(lambda: lock.exists() and lock.read_text() == f"{first.pid}\n")
        assert main(command) == 1
        assert f"process {first.pid} is sending this already" in capsys.readouterr().err
    finally:
        first.kill()
        first.wait()
    (run / "trouble").unlink()
    assert main(command) == 0, "the lock of a process that was killed holds up no other"
    assert_sent(run)


def test_followed_run_is_sent_to_its_end_by_a_process_of_its_own(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.views.loggers.records import add_launch\n"
        "from pylon.views.loggers.start import follow_run\n"
        f"follow_run(Path({str(run)!r}), {FILE_LOGGER!r}, {{}}, 0.0)\n"
        f"add_launch(Path({str(run / 'history.sqlite')!r}))\n"
    )
    # Nothing of it holds this pipe: it would not be at its end before the sender's end.
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    log = run / "loggers" / f"{FILE_LOGGER.replace(':', '.')}.log"
    assert eventually(lambda: "is sent" in log.read_text())
    assert_sent(run)


def test_logger_that_cannot_be_started_is_a_line_of_the_runs_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    follow_run(tmp_path, "no.such:Logger", {}, 0.0)
    assert "nothing is sent to no.such:Logger" in caplog.text
    assert f"`pylon log {tmp_path} --to no.such:Logger` sends it later" in caplog.text


def test_sender_that_is_killed_takes_the_loggers_process_with_it(run: Path) -> None:
    (run / "trouble").write_text("hang")
    command = ["log", str(run), "--to", FILE_LOGGER, "--option", f"trouble={run / 'trouble'}"]
    sender = subprocess.Popen([*python("pylon"), *command], env=environment())

    def children() -> list[int]:
        found = Path(f"/proc/{sender.pid}/task/{sender.pid}/children").read_text().split()
        return [int(one) for one in found]

    try:
        assert eventually(lambda: bool(children()))
        (worker,) = children()
        assert eventually((run / "trouble.met").exists)
    finally:
        os.kill(sender.pid, signal.SIGKILL)
        sender.wait()
    assert eventually(lambda: start_ticks(worker) is None)
