"""Runs that end early, as real processes, and that the same command goes on to the same bits."""

import json
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.runners.conftest import ENVIRONMENT, REPOSITORY, Toy

pytestmark = pytest.mark.ci

WORKERS = (
    "train_dataloader={'class': DataLoader, 'args': {'batch_size': 4, 'shuffle': True, 'num_workers': 2}}"
)


def failing(call: int, what: str) -> str:
    return f"criterion={{'class': ToyCriterion, 'args': {{'at_call': {call}, 'what': {what!r}}}}}"


def numbers(root: Path) -> dict[str, object]:
    """Everything a run computes, times left out."""
    history = json.loads((root / "history.json").read_text())
    for record in history:
        del record["training_time_s"], record["validation_time_s"]
    lines = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    test = json.loads((root / "test" / "test_results.json").read_text())
    del test["time_s"]
    checkpoint = torch.load(root / "checkpoint_latest.pt", weights_only=True)["parts"]
    return {
        "history": history,
        "steps": [(line["global_step"], line["loss"], line["learning_rate"]) for line in lines],
        "losses": [
            torch.load(path, weights_only=True).tolist()
            for path in sorted(root.glob("epoch_*/training_losses.pt"))
        ],
        "test": test,
        "weights": {name: value.tolist() for name, value in checkpoint["model"].items()},
        "optimizer": [
            {name: torch.as_tensor(value).tolist() for name, value in state.items()}
            for state in checkpoint["optimizer"]["state"].values()
        ],
    }


def let_it_go_on(toy: Toy) -> None:
    """Forget the criterion that ended the first launch: it is the means of the test, not part of the run."""
    (toy.work_dir / "config.json").unlink()


@pytest.mark.parametrize("workers", ["", WORKERS], ids=["no workers", "two workers"])
@pytest.mark.parametrize(("name", "code"), [("SIGKILL", -9), ("SIGTERM", 75), ("SIGINT", 75)])
def test_interrupted_run_goes_on_to_the_same_bits(
    make_toy: Callable[[str], Toy], name: str, code: int, workers: str
) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    whole.run(workers)
    ended = stopped.launch(f"{failing(5, name)}, {workers}")
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert not (stopped.work_dir / "test").exists(), "the signal must have struck in the middle"
    assert (stopped.work_dir / "checkpoint_latest.pt").resolve().parent.name == "epoch_0"
    let_it_go_on(stopped)
    stopped.run(workers)
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)


def test_bug_in_user_code_is_one_message_and_its_traceback_is_in_the_log(toy: Toy) -> None:
    ended = toy.launch(failing(5, "raise"))
    assert ended.returncode == 1
    assert "RuntimeError: the criterion broke" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "in forward" in (toy.work_dir / "train.log").read_text()


def test_disk_that_refuses_is_named_and_nothing_half_is_left(toy: Toy) -> None:
    first = toy.launch(failing(4, "SIGTERM"))
    assert first.returncode == 75
    let_it_go_on(toy)
    sound = (toy.work_dir / "epoch_0" / "checkpoint.pt").read_bytes()

    def small_files_only() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    ended = subprocess.run(
        toy.command(), cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, timeout=100,
        check=False, preexec_fn=small_files_only,
    )  # fmt: skip
    assert ended.returncode == 4, ended.stderr
    assert "File too large" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert (toy.work_dir / "epoch_0" / "checkpoint.pt").read_bytes() == sound
    assert not list(toy.work_dir.rglob("*.tmp*"))


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ("optimiser={}", 2, "optimizer"),
        ("epochs='three', criterion={'class': ToyCriterion, 'args': {'at_cal': 1}}", 2, "at_call"),
    ],
)
def test_wrong_config_is_exit_code_2_without_a_traceback_or_a_directory(
    toy: Toy, changes: str, code: int, words: str
) -> None:
    ended = toy.launch(changes)
    assert (ended.returncode, words in ended.stderr) == (code, True), ended.stderr
    assert "Traceback" not in ended.stderr
    assert not toy.work_dir.exists()


def test_missing_data_is_exit_code_3_and_says_how_to_get_it(tmp_path: Path) -> None:
    config = "configs/benchmarks/change_detection/air_change/HANet_run_1.py"
    command = [sys.executable, "main.py", "--config-filepath", config, "--work-dir", str(tmp_path / "run")]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env={**ENVIRONMENT, "PYLON_DATASETS": str(tmp_path / "absent")},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    for word in (str(tmp_path / "absent"), "Benedek", "make run"):
        assert word in ended.stderr


def test_second_file_runs_although_the_first_fails(make_toy: Callable[[str], Toy]) -> None:
    bad, good = make_toy("bad"), make_toy("good")
    bad_file = bad.write(failing(2, "raise"))
    command = good.command()
    command.insert(command.index("--config-filepath") + 1, str(bad_file))
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 1, ended.stderr
    assert (good.work_dir / "test" / "test_results.json").exists()
    assert "exit code 1" in ended.stdout
    assert "finished" in ended.stdout


def test_ctrl_c_on_a_terminal_stops_all_files_and_prints_the_table(make_toy: Callable[[str], Toy]) -> None:
    first, second = make_toy("first"), make_toy("second")
    slow = "epochs=100000"
    command = first.command(slow)
    command.insert(command.index("--config-filepath") + 2, str(second.write(slow)))
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(REPOSITORY)
        os.execve(command[0], command, {**ENVIRONMENT, "COLUMNS": "200"})
    shown = b""
    deadline = time.monotonic() + 80
    while not (first.work_dir / "checkpoint_latest.pt").exists() and time.monotonic() < deadline:
        shown += _read_some(terminal)
    os.write(terminal, b"\x03")
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        shown += _read_some(terminal)
        if ended:
            break
    assert os.waitstatus_to_exitcode(status) == 75, shown.decode()
    assert b"Traceback" not in shown
    assert b"not started" in shown
    assert json.loads((first.work_dir / "state.json").read_text())["state"] == "preempted"
    assert not second.work_dir.exists()


def _read_some(terminal: int) -> bytes:
    ready, _, _ = select.select([terminal], [], [], 0.1)
    try:
        return os.read(terminal, 65536) if ready else b""
    except OSError:  # the other side has closed: Linux reports end of file so
        return b""
