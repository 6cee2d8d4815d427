"""What is written is what a reader gets: rows of all kinds, over time, while it is written and after."""

import math
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylon.recorder.history import (
    AlertRow,
    EndingRow,
    Gap,
    HistoryWriter,
    LaunchRow,
    ProcessRow,
    SeriesKey,
    StepWindow,
    VerdictRow,
    open_history,
)

T = 1_790_000_000.0
CPU = SeriesKey("localhost", "", "cpu", "percent", "host")
GPU = SeriesKey("localhost", "GPU-1", "gpu_utilization", "percent", "device")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[HistoryWriter]:
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        yield writer


def test_rows_of_every_kind_come_back(writer: HistoryWriter) -> None:
    launch = writer.begin(LaunchRow(T, "runner", name="night", pid=7, command='["python"]', ranks=2))
    writer.mark(launch, T + 1, "epoch", {"number": 3})
    writer.mark(launch, T + 2, "begin")
    number = writer.alert_began(AlertRow(launch, "stuck", "warning", T + 2, "no step", None, 61.0, 60.0))
    writer.alert_ended(number, T + 5)
    writer.verdict(VerdictRow(launch, T, 60.0, "input_bound", '["wait 30 %"]', "cpu_bound", 0.2))
    writer.process(ProcessRow(launch, 7, T, None, "me", "python", "run"))
    writer.window(StepWindow(launch, T, 1.0, 4, 0, 3, 0, 0.1, 0.2, 0.3, loss_n=0, non_finite=1))
    writer.last_loss(launch, 0.5)
    writer.last_loss(launch, math.nan)
    writer.end(EndingRow(launch, T + 9, "killed", "sigkill", "confirmed", "kernel", signal=9))
    with open_history(writer.path) as history:
        (row,) = history.launches()
        assert (row.id, row.name, row.pid, row.ranks, row.rank) == (launch, "night", 7, 2, None)
        assert [(one.kind, one.detail) for one in history.marks(launch)] == [
            ("epoch", '{"number": 3}'),
            ("begin", None),
        ]
        assert [one.kind for one in history.marks(kinds={"begin"})] == ["begin"]
        assert str(history.last_loss(launch)) == "nan", "the newest, not the newest finite one"
        assert history.last_loss(launch + 1) is None
        (alert,) = history.alerts(launch)
        assert (alert.rule, alert.since, alert.until, alert.value) == ("stuck", T + 2, T + 5, 61.0)
        assert history.verdicts()[0].runner_up == "cpu_bound"
        assert history.processes(launch)[0].command == "python"
        (window,) = history.windows(launch)
        assert (window.n, window.wait_mean, window.loss_mean, window.non_finite) == (4, None, None, 1)
        ending = history.ending(launch)
        assert ending is not None
        assert (ending.state, ending.signal, ending.exit_code) == ("killed", 9, None)
        assert history.ending(99) is None


def test_text_without_an_encoding_is_written_with_what_it_holds(writer: HistoryWriter) -> None:
    """As a folder's name that is no UTF-8, or an exception's text that quotes one."""
    launch = writer.begin(LaunchRow(T, "runner", name="n\udcff", working_directory="/x\udcff"))
    writer.mark(launch, T, "kind\udcff")
    writer.sample(T, [(SeriesKey("host\udcff", "", "cpu", "percent", "host"), 1.0, None)])
    writer.end(EndingRow(launch, T, "failed", "exception", "confirmed", "parent", traceback="no \udcff"))
    assert writer.commit()
    with open_history(writer.path) as history:
        (row,) = history.launches()
        assert (row.name, row.working_directory) == ("n\\udcff", "/x\\udcff")
        assert [one.kind for one in history.marks(launch)] == ["kind\\udcff"]
        assert [one.server for one in history.series()] == ["host\\udcff"]
        ending = history.ending(launch)
        assert ending is not None
        assert ending.traceback == "no \\udcff"


def test_what_is_unknown_is_a_gap_with_its_reason_and_never_zero(writer: HistoryWriter) -> None:
    writer.begin(LaunchRow(T, "loop"))
    for second, value in enumerate((5.0, None, None, 7.0, float("nan"))):
        writer.sample(T + second, [(CPU, value, "hung" if value is None else None), (GPU, 1.0, None)])
    assert writer.commit()
    with open_history(writer.path) as history:
        assert [one.mean for one in history.readings(CPU, T, T + 9)] == [5.0, 7.0]
        assert history.gaps(CPU) == [Gap(T + 1, T + 3, "hung"), Gap(T + 4, None, "not_finite")]
        assert [one.n for one in history.samples(CPU, T, T + 5, buckets=5)] == [1, 1]
        assert len(history.readings(GPU, T, T + 9)) == 5


def test_second_launch_goes_on_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    for start in (T, T + 100):
        with HistoryWriter(path) as writer:
            writer.begin(LaunchRow(start, "runner"))
            writer.sample(start, [(CPU, 1.0, None)])
    with open_history(tmp_path) as history:
        assert [(row.id, row.began_at) for row in history.launches()] == [(1, T), (2, T + 100)]
        assert [one.t for one in history.readings(CPU, T, T + 1000)] == [T, T + 100]


def test_reader_leaves_no_trace_and_is_not_in_the_way(writer: HistoryWriter) -> None:
    writer.begin(LaunchRow(T, "runner"))
    before = sorted((path.name, path.stat().st_size) for path in writer.path.parent.iterdir())
    with open_history(writer.path) as history:
        writer.sample(T + 1, [(CPU, 1.0, None)])
        assert writer.commit()
        assert history.series() == [], "a reader sees the record as it was when it was opened"
    with open_history(writer.path) as history:
        assert history.series() == [CPU]
    writer.close()
    assert {path.name for path in writer.path.parent.iterdir()} == {"history.sqlite", "history.sqlite.lock"}
    assert before[0][0] == "history.sqlite"


def test_plain_sql_sees_samples_of_all_levels(writer: HistoryWriter) -> None:
    launch = writer.begin(LaunchRow(T, "runner"))
    for second in range(200):
        writer.sample(T + second, [(CPU, float(second), None)])
        writer.commit()
    writer.close()
    connection = sqlite3.connect(writer.path)
    rows = connection.execute(
        "SELECT sum(n), min(min), max(max) FROM sample JOIN series ON series.id = sample.series "
        "WHERE name = 'cpu' AND t >= ?",
        (T,),
    ).fetchall()
    assert rows == [(200, 0.0, 199.0)]
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == ("1",)
    assert launch == 1
    connection.close()


def test_launch_is_changed_and_gone_on_with_by_another_writer(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with HistoryWriter(path) as writer:
        launch = writer.begin(LaunchRow(T, "wrapper", name="night"))
        for second in range(200):
            writer.sample(T + second, [(CPU, 1.0, None)])
            writer.commit()
        writer.change_launch(launch, pid=9)
    with HistoryWriter(path) as writer:
        writer.resume(launch)
        writer.change_launch(launch, start_ticks=5)
        writer.sample(T + 200, [(CPU, 1.0, None)])
        assert writer.commit()
        path.unlink()
        writer.sample(T + 201, [(CPU, 1.0, None)])
        assert writer.commit()
        with open_history(path) as history:
            (row,) = history.launches()
    assert (row.id, row.name, row.pid, row.start_ticks) == (launch, "night", 9, 5)


def test_changed_launch_moves_no_readings_back(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        launch = writer.begin(LaunchRow(T, "wrapper"))
        for second in range(300):
            writer.sample(T + second, [(CPU, float(second), None)])
            if second == 200:
                writer.change_launch(launch, pid=9)
            writer.commit()
        with open_history(tmp_path) as history:
            assert [one.mean for one in history.readings(CPU, T, T + 900)] == [float(n) for n in range(300)]
            assert sum(one.n for one in history.samples(CPU, T, T + 300, 3)) == 300


def test_page_has_every_table_and_column(writer: HistoryWriter) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/recorder.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ((?:`\w+`(?:, )?)+) \|", page, re.M)
    shown = {
        table: set(re.findall(r"\w+", columns))
        for tables, columns in rows
        for table in re.findall(r"\w+", tables)
    }
    connection = sqlite3.connect(writer.path)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE sql IS NOT NULL")]
    held = {
        name: {row[1] for row in connection.execute(f"SELECT * FROM pragma_table_info('{name}')")}
        for name in names
    }
    connection.close()
    assert shown == held


def test_bucket_is_as_wide_as_what_is_left_of_its_time(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        writer.begin(LaunchRow(T, "runner"))
        for second in range(0, 9000, 2):
            writer.sample(T + second, [(CPU, float(second % 100), None)])
            if second % 10 == 0:
                writer.commit()
        writer.commit()
        with open_history(tmp_path) as history:
            old = history.samples(CPU, T + 100, T + 200, 100)
            new = history.samples(CPU, T + 8000, T + 8100, 100)
            whole = history.samples(CPU, T, T + 9000, 1500)
    assert {one.width for one in old} == {10.0}, "readings of the first hours are means of 10 s by now"
    assert {one.width for one in new} == {1.0}
    assert {one.width for one in whole} == {10.0}, "buckets of 6 s would be empty where 10 s are left"
    assert (len(whole), sum(one.n for one in whole)) == (900, 4500)


def test_launch_that_begins_before_the_last_one_ended_loses_nothing(tmp_path: Path) -> None:
    """The machine's clock was set back between two launches."""
    for start in (T + 5000, T):
        with HistoryWriter(tmp_path / "history.sqlite") as writer:
            writer.begin(LaunchRow(start, "runner"))
            for second in range(500):
                writer.sample(start + second, [(CPU, 1.0, None)])
                writer.commit()
    with open_history(tmp_path) as history:
        for start in (T + 5000, T):
            assert sum(one.n for one in history.samples(CPU, start, start + 500, 100)) == 500
            assert len(history.readings(CPU, start, start + 500)) == 500
