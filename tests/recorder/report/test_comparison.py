"""Runs next to each other: only what differs, repetitions as one line, curves by step, epoch and time."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pylon.command import main
from pylon.recorder.history import HistoryWriter, LaunchRow, StepWindow
from pylon.recorder.report.comparison.groups import differences
from pylon.recorder.report.making import Report, read_report
from tests.recorder.synthetic import BEGAN_AT, Run, write_history

BASE = Run(seconds=120, epoch_s=40, cause="clean", state="finished", name="base")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    """Three seeds of one configuration, and a run with another learning rate on one more GPU."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2, 3):
        write_history(folder / f"seed{seed}/history.sqlite", replace(BASE, seed=seed, name=f"seed{seed}"))
    other = replace(BASE, configuration=(("optimizer.args.lr", 0.01),), name="other", gpus=3, step_s=0.5)
    write_history(folder / "z/history.sqlite", other)
    yield read_report([folder])


@pytest.fixture(scope="module")
def views(report: Report) -> dict[str, dict[str, Any]]:
    return {view.kind: view.as_record() for view in report.views()}


def chart(views: dict[str, dict[str, Any]], kind: str, id_: str) -> dict[str, Any]:
    return next(one for one in views[kind]["charts"] if one["id"] == id_)


def test_text_has_only_the_keys_that_differ(report: Report) -> None:
    printed = "\n".join(report.lines())
    assert "optimizer.args.lr: 0.001 (1, 2, 3), 0.01 (4)" in printed
    assert "work_dir" not in printed
    assert "seed" not in printed.partition("Configuration")[2]
    assert 'gpus: ["H100", "H100"] (1, 2, 3), ["H100", "H100", "H100"] (4)' in printed
    assert "cores" not in printed


def test_long_values_are_shown_from_the_word_on_that_differs(tmp_path: Path) -> None:
    same = "/a/long/path/to/an/interpreter -m pylon train --config-filepath configs/of/mine.py "
    for name in ("one", "two"):
        given = (("launch.command", f"{same}--work-dir logs/{name} {'--set a=b ' * 20}"),)
        write_history(tmp_path / name / "history.sqlite", replace(BASE, configuration=given, name=name))
    printed = "\n".join(read_report([tmp_path]).lines())
    assert "launch.command: ...logs/one --set a=b" in printed
    assert ", ...logs/two --set a=b" in printed
    assert "interpreter" not in printed


def test_each_run_has_its_line(report: Report) -> None:
    rows = [re.split(r"\s{2,}", line) for line in report.lines()[1:5]]
    assert [row[:3] for row in rows] == [
        [str(number), name, "finished (clean)"]
        for number, name in enumerate(("seed1", "seed2", "seed3", "other"), 1)
    ]


def test_repetitions_are_found_and_drawn_as_mean_and_band(
    report: Report, views: dict[str, dict[str, Any]]
) -> None:
    assert "  runs 1, 2, 3" in report.lines()
    names = [line["name"] for line in chart(views, "step", "loss")["lines"]]
    assert names == ["lr 0.001 (mean of 3 seeds)", "4 other"]
    band = chart(views, "step", "loss")["lines"][0]["levels"][0]
    assert band["low"] is not None
    assert band["high"] is not None


def test_run_on_more_ranks_is_no_repetition(tmp_path: Path) -> None:
    for number, ranks in enumerate((None, None, 2)):
        run = replace(BASE, seed=number, name=f"run{number}", ranks=ranks)
        write_history(tmp_path / f"{number}/history.sqlite", run)
    report = read_report([tmp_path])
    assert "  runs 1, 2" in report.lines()
    assert "  ranks: 1 (1, 2), 2 (3)" in report.lines()
    assert report.record()["groups"] == [[0, 1], [2]]
    view = next(view for view in report.views() if view.kind == "step")
    assert [line.name for line in view.charts[0].lines] == ["ranks 1 (mean of 2 seeds)", "3 run2"]
    assert ">ranks</" in report.page()


def test_mean_of_repetitions_lies_in_its_band(report: Report) -> None:
    view = next(view for view in report.views() if view.kind == "epoch")
    level = next(one for one in view.charts if one.id == "loss").lines[0].levels[0]
    assert level is not None
    assert len(level.mean) == 3, "one bucket for each epoch"
    assert all(low < mean < high for low, mean, high in zip(level.low, level.mean, level.high, strict=True))


def test_views_are_by_step_epoch_and_time(views: dict[str, dict[str, Any]]) -> None:
    ends = {kind: view["grids"][0]["width"] * view["grids"][0]["count"] for kind, view in views.items()}
    assert ends["epoch"] == 3
    assert ends["elapsed"] == 120
    assert ends["step"] == pytest.approx(360, abs=40)
    assert {"gpu-use", "cpu", "memory-run"} <= {one["id"] for one in views["elapsed"]["charts"]}


def test_scores_are_compared_by_epoch(views: dict[str, dict[str, Any]]) -> None:
    assert chart(views, "epoch", "score-0")["title"] == "Validation: f1"
    assert len(chart(views, "epoch", "score-0")["lines"]) == 2
    assert len(chart(views, "step", "score-0")["lines"]) == 4, "single points of each run"


def test_page_and_json(report: Report) -> None:
    page = report.page()
    assert "4 runs compared" in page
    assert '<td class="text">0.01</td>' in page
    record = json.loads(json.dumps(report.record()))
    assert record["groups"] == [[0, 1, 2], [3]]
    assert [run["state"] for run in record["runs"]] == ["finished"] * 4


def test_configuration_that_was_not_recorded_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_history(tmp_path / "a/history.sqlite", BASE)
    (tmp_path / "b").mkdir()
    with HistoryWriter(tmp_path / "b/history.sqlite") as writer:
        writer.begin(LaunchRow(began_at=BEGAN_AT, kind="wrapper", name="bare", command='["sleep", "9"]'))
    assert main(["report", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    printed = capsys.readouterr().out
    assert "not recorded of 2" in printed
    assert "command: python main.py --config-filepath mine.py (1), sleep 9 (2)" in printed
    bare = next(line for line in printed.splitlines() if line.startswith("2"))
    assert bare.count("?") >= 6, "unknown is not 0"


def test_launches_of_a_resumed_run_follow_each_other(tmp_path: Path) -> None:
    """A night between two launches is no time of training."""
    (tmp_path / "a").mkdir()
    with HistoryWriter(tmp_path / "a/history.sqlite") as w:
        for number, begin in enumerate((BEGAN_AT, BEGAN_AT + 40_000)):
            launch = w.begin(LaunchRow(began_at=begin, kind="runner"))
            for second in range(60):
                step = number * 60 + second
                w.window(StepWindow(launch, begin + second, 1.0, 1, step, step, 0, 1.0, 1.0, 1.0))
    write_history(tmp_path / "b/history.sqlite", BASE)
    report = read_report([tmp_path])
    assert report.record()["runs"][0]["elapsed_s"] == pytest.approx(120)
    view = next(view for view in report.views() if view.kind == "elapsed")
    assert view.grids[0].end == pytest.approx(120)


@pytest.mark.parametrize(
    ("kind", "first", "steps"),
    [("runner", 0, "8"), ("runner", 2, "8"), ("loop", 0, "8"), ("loop", 1, "7")],
)
def test_steps_are_a_count_and_the_loss_is_the_last_steps(
    tmp_path: Path, kind: str, first: int, steps: str
) -> None:
    """The second launch repeats two steps after a kill, and the third takes none."""
    for name, width in (("fast", 8), ("slow", 1)):
        (tmp_path / name).mkdir()
        with HistoryWriter(tmp_path / name / "history.sqlite") as w:
            for number, numbers in enumerate((range(first, 6), range(4, 8), range(0))):
                launch = w.begin(LaunchRow(began_at=BEGAN_AT + 100 * number, kind=kind, name=name))
                for place in range(0, len(numbers), width):
                    part = numbers[place : place + width]
                    losses = [1.0 - 0.1 * one for one in part]
                    w.window(
                        StepWindow(
                            launch, BEGAN_AT + 100 * number + place, 1.0, len(part), part[0], part[-1], 0,
                            loss_min=losses[-1], loss_mean=sum(losses) / len(part), loss_max=losses[0],
                            loss_n=len(part), non_finite=0,
                        )
                    )  # fmt: skip
                    w.last_loss(launch, 0.125 if part[-1] == 7 else 2.0)
    report = read_report([tmp_path])
    heads, *rows = [re.split(r"\s{2,}", line.strip()) for line in report.lines()[:3]]
    for row in rows:
        cells = dict(zip(["", *heads], row, strict=True))
        assert (cells["steps"], cells["last loss"]) == (steps, "0.125")
    assert [run["last_loss"] for run in report.record()["runs"]] == [0.125, 0.125]


def test_absent_key_is_a_difference() -> None:
    found = differences([{"a": "1", "b": "2"}, {"a": "1"}])
    assert [(one.key, one.values) for one in found] == [("b", (("2", (0,)), (None, (1,))))]
