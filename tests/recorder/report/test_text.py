"""`pylon report RUN` as a person reads it: cause, advice, evidence, the last minutes, the verdict, alerts."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pylon.command import main
from pylon.recorder.history import AlertRow, EndingRow, HistoryWriter, LaunchRow, SeriesKey
from pylon.recorder.report.words import cause_line
from tests.recorder.synthetic import BEGAN_AT, EVIL, Run, write_history


@pytest.fixture(scope="module")
def printed(killed: Path) -> str:
    from pylon.recorder.report.making import read_report

    report = read_report([killed.parent])
    lines = report.lines()
    report.close()
    return "\n".join(lines)


def test_first_line_is_the_cause_and_the_second_the_advice(printed: str) -> None:
    first, second = printed.splitlines()[:2]
    assert first == "Killed by the kernel: the memory limit of its control group was reached (confirmed)."
    assert second == "Ask for more memory."


def test_evidence_names_its_source(printed: str) -> None:
    assert "Evidence (concluded by the recorder)\n  - oom_kill of the run's control group rose" in printed


def test_last_minutes_show_the_rise_and_the_limit(printed: str) -> None:
    rows = {line.strip().partition("  ")[0]: line for line in printed.splitlines()}
    assert rows["run: resident"].split()[2:4] != rows["run: resident"].split()[-2:], (
        "before and newest differ"
    )
    assert "64 GiB" in rows["run: limit of the control group"]


def test_missing_value_has_its_reason_and_is_never_zero(printed: str) -> None:
    line = next(one for one in printed.splitlines() if "GPU 1 utilization" in one)
    assert line.endswith("the device is gone (lost)")
    swap = next(one for one in printed.splitlines() if "swap" in one)
    assert "not provided by this machine (unsupported)" in swap
    assert " 0 " not in swap


def test_verdict_with_runner_up_and_cured_step_time(printed: str) -> None:
    assert "What held it back: Input-bound: steps wait for data for 67 % of the time" in printed
    assert "Without it a step would take about 201 ms." in printed
    assert "Next: CPU-bound" in printed


def test_alerts_have_time_and_duration(printed: str) -> None:
    assert "critical: memory runs out in 2 min (until the end)" in printed


def test_nothing_controls_the_terminal(printed: str) -> None:
    assert "alert(1)" in printed, "the last lines of standard error are shown"
    assert all(character.isprintable() or character == "\n" for character in printed)


def test_json_has_the_same_for_programs(killed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--json", str(killed)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["ending"]["cause"]) == ("killed", "cgroup_oom")
    assert found["ending"]["last_lines"] == f"loading batch\n{EVIL}\n"
    lost = next(one for one in found["figures"] if one["name"] == "GPU 1 utilization")
    assert (lost["newest"], lost["last_minute"]) == (None, None)
    assert found["launch"]["configuration"]["optimizer"]["args"]["lr"] == 0.001


def test_stacks_of_a_hang_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        launch = writer.begin(LaunchRow(began_at=BEGAN_AT, kind="loop"))
        writer.mark(launch, BEGAN_AT + 5, "hang", {"seconds": 60})
        writer.mark(launch, BEGAN_AT + 5, "stack", {"text": "Thread 1\n  File x.py, line 7 in \x1b[2Jwait"})
        writer.end(EndingRow(launch, BEGAN_AT + 70, "hung", "hang", "confirmed", "recorder", signal=9))
    assert main(["report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Hung: no step was finished any more (confirmed).")
    assert "Stacks while it hung\n  Thread 1\n    File x.py, line 7 in ?[2Jwait\n" in printed
    assert main(["report", str(tmp_path), "--html", str(tmp_path / "page.html")]) == 0
    assert "line 7 in ?[2Jwait" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_many_gpus_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_history(tmp_path / "history.sqlite", Run(seconds=30, gpus=8))
    assert main(["report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "GPU utilization: mean of 7 of 8" in printed
    assert "GPU 3" not in printed


def test_value_from_before_a_gap_is_not_the_newest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_history(tmp_path / "history.sqlite", Run(seconds=30, gpus=2))
    assert main(["report", "--json", str(tmp_path)]) == 0
    figures = {one["name"]: one for one in json.loads(capsys.readouterr().out)["figures"]}
    lost = figures["GPU 1 utilization"]
    assert lost["last_minute"] is not None
    assert (lost["newest"], lost["reason"]) == (None, "the device is gone (lost)")


def test_short_failure_repeats_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the traceback, nor the alert that it ended, nor a column in which nothing is known."""
    traceback = "Traceback (most recent call last):\n  File x.py, line 7\nValueError: no such thing"
    cpu = SeriesKey("localhost", "", "cpu_utilization", "percent", "host")
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        launch = writer.begin(LaunchRow(began_at=BEGAN_AT, kind="wrapper"))
        for second in range(20):
            writer.sample(BEGAN_AT + second, [(cpu, 50.0, None)])
        writer.alert_began(AlertRow(launch, "died", "critical", BEGAN_AT + 20, "The run ended: failed"))
        ending = EndingRow(launch, BEGAN_AT + 20, "failed", "exception", "confirmed", "parent", exit_code=1)
        writer.end(replace(ending, traceback=traceback, last_lines=f"loading\n{traceback}\n"))
    assert main(["report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("ValueError: no such thing") == 1
    assert "Alerts" not in printed
    assert "10 min before" not in printed
    assert re.search(r"^  CPU +50 % +50 %$", printed, re.M)


def test_earlier_launches_of_a_resumed_run_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        for number in range(3):
            begin = BEGAN_AT + 1000 * number
            launch = writer.begin(LaunchRow(began_at=begin, kind="runner", name="resumed"))
            if number != 1:
                writer.end(EndingRow(launch, begin + 90, "stopped", "sigterm", "confirmed", "program"))
    assert main(["report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^launch +3 of 3$", printed, re.M)
    first, second = printed.partition("Earlier launches\n")[2].splitlines()[:2]
    assert first.startswith("  1  ")
    assert first.endswith("stopped after 1 min 30 s (sigterm, confirmed)")
    assert second.endswith("its end was not recorded")
    assert main(["report", str(tmp_path), "--launch", "1", "--html", str(tmp_path / "page.html")]) == 0
    assert "Earlier launches" not in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("number", "name"), [(13, "SIGPIPE"), (40, "signal 40")])
def test_signal_has_its_name(number: int, name: str) -> None:
    assert cause_line("signal", "confirmed", None, number) == f"Ended by a signal ({name}, confirmed)."
