import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pylon.runners.errors import RunDirectoryError
from pylon.runners.run_directory.directory import RunDirectory

HOLD = (
    "import sys, pathlib\n"
    "from pylon.runners.run_directory.directory import RunDirectory\n"
    "with RunDirectory(pathlib.Path(sys.argv[1])).opened():\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.mark.slow
def test_second_process_is_refused_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(RunDirectoryError, match="another process is running"),
            RunDirectory(tmp_path).opened(),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
    with RunDirectory(tmp_path).opened():
        assert (tmp_path / ".lock").exists()


def test_fresh_attempts_count_up_and_a_plain_command_goes_on_with_the_newest(tmp_path: Path) -> None:
    work_dir = tmp_path / "HANet run.0"
    assert RunDirectory.fresh_attempt(work_dir).root == work_dir
    roots = []
    for _ in range(11):
        fresh = RunDirectory.fresh_attempt(work_dir)
        fresh.root.mkdir()
        roots.append(fresh.root.name)
    assert roots[:3] == ["HANet run.0", "HANet run.0-fresh-1", "HANet run.0-fresh-2"]
    assert RunDirectory.newest_attempt(work_dir).root.name == "HANet run.0-fresh-10"


def test_fresh_attempt_is_the_newest_even_where_the_first_was_moved_away(tmp_path: Path) -> None:
    (tmp_path / "run-fresh-3").mkdir()
    fresh = RunDirectory.fresh_attempt(tmp_path / "run")
    assert fresh.root.name == "run-fresh-4"
    fresh.root.mkdir()
    assert RunDirectory.newest_attempt(tmp_path / "run").root == fresh.root


def test_what_a_killed_process_left_unfinished_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pylon import storage\n"
        "with storage.atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    checkpoint = tmp_path / "epoch_0" / "checkpoint.pt"
    subprocess.run([sys.executable, "-c", code, str(checkpoint)], check=False, timeout=60)
    (tmp_path / ".my notes.tmp").write_text("keep me")
    assert len(list(tmp_path.rglob("*.tmp*"))) == 2
    with RunDirectory(tmp_path).opened():
        assert [path.name for path in tmp_path.rglob("*.tmp*")] == [".my notes.tmp"]


def test_debug_run_clears_what_it_made_and_keeps_what_others_put_there(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run.debug")
    directory.root.mkdir()
    directory.start_debug_over()
    directory.write_state("finished")
    directory.epoch(0).mkdir()
    (directory.epoch(0) / "checkpoint.pt").write_text("weights")
    (directory.epoch(0) / "my notes.txt").write_text("keep me")
    for name in ("00003.png", "annotated.png"):
        directory.predictions.mkdir(exist_ok=True)
        (directory.predictions / name).write_text("picture")
    directory.start_debug_over()
    assert not directory.state.exists()
    assert not directory.checkpoint(0).exists()
    assert (directory.epoch(0) / "my notes.txt").read_text() == "keep me"
    assert [path.name for path in directory.predictions.iterdir()] == ["annotated.png"]


def test_debug_run_refuses_a_directory_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_best.pt").write_text("weeks of work")
    with pytest.raises(RunDirectoryError, match="no --debug run made it"):
        RunDirectory(tmp_path).start_debug_over()
    assert (tmp_path / "checkpoint_best.pt").read_text() == "weeks of work"


def test_state_edited_by_hand_is_named_with_its_fix(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.state.write_text("{")
    with pytest.raises(RunDirectoryError, match=r"state\.json.*--fresh"):
        directory.read_json(directory.state)


def test_state_tells_how_the_run_ended(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.write_state("preempted", signal="SIGTERM")
    assert json.loads(directory.state.read_text()) == {"state": "preempted", "signal": "SIGTERM"}


def test_run_directory_under_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with (
        pytest.raises(RunDirectoryError, match=r"logs.*--work-dir"),
        RunDirectory(tmp_path / "logs" / "run").opened(),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", r"content is \[1\]"),
        ("null", "content is None"),
        ("[" * 10**5, "cannot be read as JSON"),
        ('{"state": "finished"}', "result is None"),
        ('{"state": "finished", "result": {"test": [1]}}', r"result\.test is \[1\]"),
        ('{"state": "finished", "result": {"test": {"f1": "high"}}}', r"result\.test\.f1 is 'high'"),
    ],
)
def test_state_that_no_run_writes_is_named_with_its_fix(tmp_path: Path, text: str, words: str) -> None:
    directory = RunDirectory(tmp_path)
    directory.state.write_text(text)
    with pytest.raises(RunDirectoryError, match=rf"state\.json: {words}.*--fresh"):
        directory.finished_result()


@pytest.mark.parametrize("text", ["[1]", "{}", '{"launches": {}}', '{"launches": [1]}', "[" * 10**5])
def test_launches_that_no_run_writes_are_named_with_their_fix(tmp_path: Path, text: str) -> None:
    directory = RunDirectory(tmp_path)
    directory.environment.write_text(text)
    with pytest.raises(RunDirectoryError, match=r"environment\.json: .*--fresh"):
        directory.launches()
