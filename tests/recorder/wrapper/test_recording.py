"""What `pylon run` records, and what it does where that is not possible."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pylon.recorder.channel import VARIABLE
from pylon.recorder.node import Ranks
from pylon.recorder.wrapper.place import name_of, new_place
from tests.other_users import NOBODY, needs_root, shared
from tests.recorder.wrapper.conftest import Above

__all__ = ["shared"]

REPOSITORY = Path(__file__).resolve().parents[3]
RUN = [sys.executable, "-m", "pylon", "run"]
WITHIN_S = 60


def run(arguments: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(cwd), **variables}
    return subprocess.run(
        [*RUN, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


def rows(history: Path, query: str, at_least: int = 1) -> list[tuple]:
    """What a query gives, once there is so much."""
    until_s = time.monotonic() + WITHIN_S
    while True:
        found = []
        if history.exists():
            connection = sqlite3.connect(f"file:{history}?mode=ro", uri=True)
            try:
                found = connection.execute(query).fetchall()
            except sqlite3.OperationalError:
                pass
            finally:
                connection.close()
        if len(found) >= at_least:
            return found
        assert time.monotonic() < until_s, query
        time.sleep(0.02)


@pytest.mark.slow
def test_record_has_the_command_its_end_and_the_last_lines_of_an_error_file(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("of an earlier run\n")
    script = f"'{sys.executable}' -m pylon run -- sh -c 'echo last words >&2; exit 7' 2>>log"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)}
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, timeout=WITHIN_S, check=False)
    assert done.returncode == 7
    shown = (tmp_path / "log").read_text().splitlines()
    found = re.fullmatch(
        r"pylon run: recorded; show it with: pylon report (pylon-records/sh-\d{8}-\d{6})", shown[-1]
    )
    assert found is not None, shown
    history = tmp_path / found[1] / "history.sqlite"
    ((state, cause, certainty, source, code, lines),) = rows(
        history, "SELECT state, cause, certainty, source, exit_code, last_lines FROM ending"
    )
    assert (state, cause, certainty, source, code) == ("failed", "exit_code", "confirmed", "parent", 7)
    assert lines.startswith("last words")
    assert "earlier" not in lines
    ((kind, name, command),) = rows(history, "SELECT kind, name, command FROM launch")
    assert (kind, name, json.loads(command)[:2]) == ("wrapper", "sh", ["sh", "-c"])


LOOP = """
import time
from pylon.recorder import watch
for number in watch.batches(range(30)):
    time.sleep(0.05)
    watch.step(loss=1.0 / (number + 1))
    if number == 28:
        raise ValueError("my own")
"""


@pytest.mark.slow
def test_loop_of_a_recorded_command_is_in_its_record_with_the_exception_that_ended_it(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(LOOP)
    script = f"'{sys.executable}' -m pylon run --record mine -- '{sys.executable}' loop.py 2>log"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)}
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, timeout=WITHIN_S, check=False)
    assert done.returncode == 1
    history = tmp_path / "mine/history.sqlite"
    ((state, cause, source, trace),) = rows(history, "SELECT state, cause, source, traceback FROM ending")
    assert (state, cause, source) == ("failed", "exception", "parent")
    assert trace.endswith("ValueError: my own")
    ((steps, waits, least, most),) = rows(
        history, "SELECT sum(n), min(wait_mean), min(step_min), max(loss_max) FROM step_window"
    )
    assert (steps, most) == (29, 1.0)
    assert waits is not None
    assert least >= 0.05
    kinds = [kind for (kind,) in rows(history, "SELECT kind FROM mark ORDER BY t")]
    assert "joined" in kinds
    assert len(rows(history, "SELECT 1 FROM launch")) == 1


@pytest.mark.slow
def test_two_launches_in_one_folder_and_a_death_by_a_signal(tmp_path: Path) -> None:
    for script in ("exit 0", "kill -9 $$"):
        done = run(["--record", "mine", "--name", "first", "--quiet", "--", "sh", "-c", script], tmp_path)
        assert (done.stdout, done.stderr) == ("", "")
        # The second one waits for nothing; the file has one writer at a time.
        rows(tmp_path / "mine/history.sqlite", "SELECT 1 FROM ending", 1 if script == "exit 0" else 2)
    found = rows(tmp_path / "mine/history.sqlite", "SELECT state, source, exit_code, signal FROM ending", 2)
    assert found == [("finished", "parent", 0, None), ("killed", "parent", None, 9)]
    assert not (tmp_path / "pylon-records").exists()


@pytest.mark.slow
def test_first_process_of_a_container_lets_the_recorder_end(tmp_path: Path) -> None:
    namespace = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace of processes can be made here")
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)}
    words = [*namespace, *RUN, "--quiet", "--record", "mine", "--", "sh", "-c", "kill -9 $$"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, timeout=WITHIN_S, check=False)
    # It takes no signal from itself.
    assert done.returncode == 128 + 9
    # All processes of the namespace have ended.
    connection = sqlite3.connect(tmp_path / "mine/history.sqlite")
    found = connection.execute("SELECT state, source, signal FROM ending").fetchall()
    connection.close()
    assert found == [("killed", "parent", 9)]


def test_failure_of_the_wrapper_itself_does_not_end_the_command(tmp_path: Path) -> None:
    code = (
        "import sys; from pylon.recorder.wrapper.witness import Witness\n"
        "def fail(*_): raise MemoryError\n"
        "Witness.saw = Witness.end = fail\n"
        "from pylon.command import main; main(sys.argv[1:])"
    )
    words = [
        sys.executable,
        "-c",
        code,
        "run",
        "--quiet",
        "--",
        "sh",
        "-c",
        "sh -c 'kill -USR1 $0' $PPID; sleep 0.3; exit 6",
    ]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), VARIABLE: os.environ[VARIABLE]}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert (done.returncode, done.stderr) == (6, "")


def test_sandbox_without_proc_costs_the_record_alone(tmp_path: Path) -> None:
    namespace = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace of mounts can be made here")
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)}
    words = [*namespace, *RUN, "--", "sh", "-c", "echo ran; exit 4"]
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert (done.returncode, done.stdout) == (4, "ran\n")
    assert done.stderr.startswith("pylon run: not recorded: /proc is not there")
    assert done.stderr.count("\n") == 1


def test_removed_working_folder_costs_the_record_alone(tmp_path: Path) -> None:
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    words = ["sh", "-c", script, "sh", *RUN, "--", "true"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert done.returncode == 0
    assert done.stderr.startswith("pylon run: not recorded: the working folder no longer exists")
    assert done.stderr.count("\n") == 1


def test_wrapper_below_a_recorder_joins_it(above: Above, tmp_path: Path) -> None:
    done = run(["--", "sh", "-c", "exit 3"], tmp_path, **{VARIABLE: os.environ[VARIABLE]})
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    joined, left = above.marks()
    assert (joined.kind, joined.detail["kind"], joined.detail["name"]) == ("joined", "wrapper", "sh")
    assert (left.kind, left.detail["exit_code"], left.detail["signal"]) == ("left", 3, None)
    assert not list(tmp_path.iterdir())


def test_signal_that_asks_to_end_is_noted_with_its_sender(above: Above, tmp_path: Path) -> None:
    # A child of the command signals the wrapper.
    script = "trap 'exit 5' TERM; sh -c \"kill -TERM $PPID; sleep 0.3\" & wait"
    done = run(["--", "sh", "-c", script], tmp_path, **{VARIABLE: os.environ[VARIABLE]})
    assert done.returncode == 5
    (asked,) = (mark for mark in above.marks() if mark.kind == "stop_request")
    assert (asked.detail["signal"], asked.detail["by"]) == ("SIGTERM", "parent")
    assert asked.detail["sender"] == "sh"


def test_process_that_the_command_leaves_is_named_and_not_killed(above: Above, tmp_path: Path) -> None:
    daemon = "exec sleep 60 <&- >&- 2>&-"
    # The shell in between ends first: its child has no parent.
    script = f"sh -c '({daemon}) & echo $! >pid'; sh -c 'true &'; sleep 0.1"
    done = run(["--verbose", "--", "sh", "-c", script], tmp_path, **{VARIABLE: os.environ[VARIABLE]})
    pid = int((tmp_path / "pid").read_text())
    try:
        assert done.stderr == f"pylon run: process {pid} (sleep) is left running\n"
        (mark,) = (mark for mark in above.marks() if mark.kind == "left_running")
        assert mark.detail == {"processes": [{"pid": pid, "name": "sleep"}]}
        os.kill(pid, 0)
    finally:
        os.kill(pid, 9)


def test_ranks_below_the_first_join_it(tmp_path: Path, above: Above, monkeypatch: pytest.MonkeyPatch) -> None:
    from pylon.recorder.node import announce

    announce(tmp_path, os.environ[VARIABLE])
    variables = {"LOCAL_RANK": "1", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
    done = run(["--record", str(tmp_path), "--", "sh", "-c", f"echo ${VARIABLE}"], tmp_path, **variables)
    assert (done.stdout, done.stderr) == (f"{os.environ[VARIABLE]}\n", "")
    joined, left = above.marks()
    assert (joined.kind, joined.detail["rank"]) == ("joined", 5)
    assert (left.kind, left.detail["exit_code"]) == ("left", 0)


def test_rank_whose_first_does_not_record_runs_all_the_same(tmp_path: Path) -> None:
    variables = {"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"}
    done = run(["--", "sh", "-c", "echo ran"], tmp_path, **variables)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert re.fullmatch(r"pylon run: not recorded: .*no recorder of local rank 0 within 2 s\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_costs_the_record_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(["--record", "file/record", "--", "sh", "-c", "echo ran; exit 4"], tmp_path)
    assert (done.returncode, done.stdout) == (4, "ran\n")
    assert done.stderr.startswith("pylon run: not recorded: ")
    assert "file/record" in done.stderr
    assert done.stderr.count("\n") == 1


def test_line_of_the_wrapper_is_one_line_of_plain_text_whatever_the_folder_is_called(tmp_path: Path) -> None:
    done = run(["--record", "absent\x1b[31m\nx/" + "y" * 300, "--", "sh", "-c", "exit 4"], tmp_path)
    assert done.returncode == 4
    assert re.fullmatch(
        r"pylon run: not recorded: absent\?\[31m\?x/y+: .*; name a folder .* --record DIR\n", done.stderr
    )


@pytest.mark.slow
@needs_root
def test_record_that_a_full_disk_did_not_take_is_not_reported_as_recorded(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    script = 'mount -t tmpfs -o size=64k none "$1" && shift && "$@" && umount -l "$0" && exec "$@"'
    namespace = ["unshare", "--mount", "sh", "-c", script, "a b", "a b"]
    if subprocess.run([*namespace, "true"], cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)}
    done = subprocess.run(
        [*namespace, *RUN, "--record", "a b", "--", "true"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    full, written = done.stderr.splitlines()
    assert full.startswith("pylon run: not recorded: a b: the record cannot be written (")
    assert "full" in full
    assert written == "pylon run: recorded; show it with: pylon report 'a b'"


@needs_root
def test_folder_of_another_user_in_a_shared_folder_is_not_written(shared: Path, tmp_path: Path) -> None:
    (shared / "record").mkdir()
    os.chown(shared / "record", NOBODY, NOBODY)
    done = run(["--record", str(shared / "record"), "--", "sh", "-c", "echo ran"], tmp_path)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "belongs to another user" in done.stderr
    assert list((shared / "record").iterdir()) == []


def test_command_that_cannot_be_started_leaves_no_record(tmp_path: Path) -> None:
    done = run(["--", "absent-command"], tmp_path)
    assert (done.returncode, done.stderr) == (127, "pylon run: absent-command: command not found\n")
    assert list(tmp_path.iterdir()) == []


def test_no_command_is_an_error_of_the_command_line(tmp_path: Path) -> None:
    done = run(["--"], tmp_path)
    assert done.returncode == 2
    assert "no COMMAND is given" in done.stderr


def test_address_that_cannot_be_used_is_an_error_of_the_command_line_and_not_shown(tmp_path: Path) -> None:
    done = run(["--notify", "https://user:secret@host/x", "--", "touch", "ran"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--notify" in done.stderr
    assert "secret" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["python", "-u", "train.py", "--lr", "1"], "train"),
        (["/usr/bin/python3", "-m", "mine"], "python3"),
        (["./my tool/run it.py"], "run_it"),
        (["../.."], "command"),
        (["x" * 200], "x" * 60),
    ],
)
def test_name(words: list[str], name: str) -> None:
    assert name_of(words) == name


def test_folders_of_one_second_differ_and_those_of_ranks_are_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    alone = {new_place("mine", Ranks(), "node1").folder for _ in range(5)}
    assert len(alone) == 5
    ranks = {new_place("mine", Ranks(one, one, 2), "node1").folder for one in range(2)}
    assert len(ranks) == 1
    (several,) = {
        new_place("mine", Ranks(one, one, 4, several_nodes=True), "node1").folder for one in range(2)
    }
    assert several.name.endswith("-node1")
