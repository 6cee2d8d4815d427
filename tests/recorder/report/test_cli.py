"""`pylon report` with what users give it: no record, damage, many runs, runs that go on."""

import os
import platform
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pylon.command import main
from pylon.recorder.channel import start_ticks
from pylon.recorder.endings import boot_id
from pylon.recorder.history import HistoryWriter, LaunchRow, StepWindow
from tests.recorder.synthetic import Run, write_history

SHORT = Run(seconds=20)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_history(tmp_path / "run/history.sqlite", SHORT)
    return tmp_path / "run"


def failed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a report prints that ends with 1; it has no traceback."""
    assert main(["report", *map(str, arguments)]) == 1
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return printed.err


@pytest.mark.parametrize("given", ["", "history.sqlite"])
def test_run_or_its_record(given: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run / given)]) == 0
    assert capsys.readouterr().out.startswith("Killed by the kernel")


def test_path_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere: does not exist" in failed(capsys, tmp_path / "nowhere")


def test_folder_without_a_record_names_what_writes_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no history.sqlite in it" in failed(capsys, tmp_path)


def test_file_of_another_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "history.sqlite").write_bytes(b"no database at all" * 100)
    text = failed(capsys, tmp_path)
    assert "is damaged or no record" in text
    assert ".recover" not in text, "it recovers nothing of a file that SQLite did not write"


def test_file_that_is_no_record_by_its_name_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lb.py"
    path.write_text("config = {}\n")
    text = failed(capsys, path)
    assert "lb.py: is not an SQLite file, which a record is. Name the folder of a run" in text
    assert "sets it aside" not in text, "no run writes there"


def test_record_that_is_cut(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run / "history.sqlite"
    record.write_bytes(record.read_bytes()[: record.stat().st_size // 3])
    assert "is damaged or no record" in failed(capsys, run)


def test_record_whose_damaged_schema_is_no_text(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SQLite quotes it in its message, which Python cannot decode then. The next writer sets it aside."""
    record = run / "history.sqlite"
    content = record.read_bytes()
    where = content.index(b"CREATE TABLE launch(")
    record.write_bytes(content[:where] + b"CREATE TABLE launch\xca" + content[where + 20 :])
    assert "is damaged or no record" in failed(capsys, run)
    with HistoryWriter(record) as writer:
        assert writer.set_aside == run / "history.sqlite.damaged-1"


def test_view_in_the_place_of_a_table_is_not_evaluated(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is a program of whoever made the file, and need not end."""
    connection = sqlite3.connect(run / "history.sqlite")
    connection.executescript(
        "ALTER TABLE launch RENAME TO mine; CREATE VIEW launch AS SELECT * FROM mine WHERE id > 0;"
    )
    connection.close()
    assert "tables are missing: launch" in failed(capsys, run)


@pytest.mark.parametrize("form", ["--json", "--html=page.html", ""])
def test_text_that_is_nested_without_an_end_is_shown_as_text(
    form: str, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    deep = "[" * 100_000
    connection = sqlite3.connect(run / "history.sqlite", isolation_level=None)
    for column in ("configuration", "hardware", "git", "cgroup"):
        connection.execute(f"UPDATE launch SET {column} = ?", (deep,))
    connection.execute("UPDATE ending SET evidence = ?", (deep,))
    connection.execute("UPDATE mark SET detail = ?", (deep,))
    connection.close()
    assert main(["report", str(run), *form.split()]) == 0
    assert "Killed by the kernel" in capsys.readouterr().out or form.startswith("--html")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("launch.began_at", "NULL"),
        ("launch.began_at", "1e400"),
        ("ending.at", "'soon'"),
        ("ending.certainty", "x'00'"),
        ("series.name", "NULL"),
        ("newest.value", "'much'"),
        ("level.until", "'x'"),
        ("step_window.step_max", "'long'"),
        ("step_window.width", "NULL"),
        ("gap.until", "'x'"),
    ],
)
def test_value_of_another_kind_is_damage_and_no_traceback(
    column: str, value: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLite keeps text in a column of numbers, if another program puts it there."""
    table, name = column.split(".")
    connection = sqlite3.connect(run / "history.sqlite")
    connection.execute(f"UPDATE {table} SET {name} = {value}")
    connection.commit()
    connection.close()
    assert "is damaged or no record" in failed(capsys, run)


def test_record_of_a_newer_version(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connection = sqlite3.connect(run / "history.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "schema version 99" in failed(capsys, run)


def test_record_without_a_launch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        writer.commit()
        writer.close()
    assert "no launch is recorded in it yet" in failed(capsys, tmp_path)


def test_launch_that_there_is_not(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--launch 2, expected 1 to 1" in failed(capsys, run, "--launch", 2)


def test_page_that_cannot_be_written_comes_after_the_text(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "file").touch()
    assert main(["report", str(run), "--html", str(run / "file/page.html")]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("Killed")
    assert "--html" in printed.err
    assert "cannot be written" in printed.err


def test_damaged_record_costs_no_other(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_history(run.parent / "second/history.sqlite", SHORT)
    (run.parent / "third").mkdir()
    (run.parent / "third/history.sqlite").write_bytes(b"x" * 5000)
    assert main(["report", str(run.parent)]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("killed (cgroup_oom)") == 2
    assert "third/history.sqlite" in printed.err


def test_links_to_runs_count_and_each_record_once(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_history(run.parent / "second/history.sqlite", SHORT)
    (run.parent / "chosen").mkdir()
    (run.parent / "chosen/link").symlink_to(run.parent / "second")
    (run.parent / "chosen/loop").symlink_to(run.parent)
    # What is behind a link is another place, and may be without an end.
    write_history(run.parent.parent / f"{run.parent.name}-elsewhere/deep/history.sqlite", SHORT)
    (run.parent / "elsewhere").symlink_to(run.parent.parent / f"{run.parent.name}-elsewhere")
    assert main(["report", str(run.parent)]) == 0
    assert capsys.readouterr().out.count("killed (cgroup_oom)") == 2


def here(**changes: Any) -> Run:
    """A run of this machine without an end; its process is this one, or was another."""
    return Run(**{"seconds": 20, "cause": None, "host": platform.node(), "boot_id": boot_id(), **changes})


def test_run_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = (os.getpid(), start_ticks(os.getpid()) or 0)
    write_history(tmp_path / "history.sqlite", here(process=own))
    assert main(["report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Running, step 65; nothing was recorded for ")
    assert "memory runs out in 2 min (still so)" in printed


def test_run_whose_recorder_died_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_history(tmp_path / "history.sqlite", here())
    assert main(["report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Ended together with its recorder: the end was not seen.")
    assert "Evidence (concluded now, from what was recorded)" in printed
    assert "2026-09-21T14:13:40" in printed, "the time of the last sample"


def test_run_on_another_machine_is_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As on the login node of a cluster, whose compute nodes share the disk."""
    write_history(tmp_path / "history.sqlite", here(host="node7"))
    assert main(["report", str(tmp_path)]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == "Nothing more was recorded; whether it still runs is not observable from here."
    assert second == "Ask on node7, or ask the scheduler, whether it still runs."


def test_run_on_another_machine_that_recorded_a_moment_ago(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        launch = writer.begin(
            LaunchRow(began_at=now - 100, kind="runner", host="node7", boot_id="x", pid=1, start_ticks=1)
        )
        writer.window(StepWindow(launch, now - 3, 1.0, 4, 7, 10))
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("Running, step 10, last recorded ")


WRITER = """
import sys
from pathlib import Path
from pylon.recorder.history import HistoryWriter
with HistoryWriter(Path(sys.argv[1])):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_run_that_is_not_shown_here_goes_on_as_long_as_its_record_has_a_writer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a container: its processes have other numbers there, and none here."""
    record = tmp_path / "history.sqlite"
    write_history(record, here(process=(2**22 + 1, 1)))
    command = [sys.executable, "-c", WRITER, str(record)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        assert main(["report", str(tmp_path)]) == 0
        assert capsys.readouterr().out.startswith("Running")
        writer.communicate()
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("Ended together with its recorder")


def test_record_that_is_being_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_history(tmp_path / "history.sqlite", SHORT)
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        writer.commit()
        assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("Killed")


def test_reader_of_the_output_may_leave(run: Path) -> None:
    command = f"{sys.executable} -m pylon report {run} | true"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
