"""What a logger gets of a record."""

import dataclasses
from pathlib import Path

import pytest

from pylon.recorder.history import HistoryWriter, LaunchRow, StepWindow, open_history
from pylon.views.loggers import End, Picture, Scalars
from pylon.views.loggers.entries import configuration_of
from pylon.views.loggers.position import LoggerError, read_sending
from tests.views.loggers.records import BEGAN_AT, add_launch, all_entries, entries_from, points, position

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "run/history.sqlite"


def test_a_launch_is_sent_with_losses_scores_rate_figures_and_its_end(record: Path) -> None:
    add_launch(record)
    entries = all_entries(record)
    assert [one.row for one in entries] == list(range(1, len(entries) + 1))
    assert [one.t for one in entries] == sorted(one.t for one in entries)
    values = points(entries)
    losses = [(step, value) for name, step, _, value in values if name == "train/loss"]
    assert losses == [(step, round(1 / (step + 1), 6)) for step in range(60)]
    assert [(step, value) for name, step, _, value in values if name == "score/f1"] == [
        (step - 1, step / 1e6) for step in range(9, 60, 10)
    ], "a score has the step at its time"
    assert [step for name, step, *_ in values if name == "train/learning_rate"] == [0]
    loads = [(t - BEGAN_AT, value) for name, _, t, value in values if name == "system/load_1m"]
    assert len(loads) == 6
    assert loads[0] == (10.0, 4.5), "the mean of ten seconds"
    assert {name for name, *_ in values if name.startswith("system/gpu")} == {
        "system/gpu_power/gpu1/GPU-0a1b"
    }
    assert entries[-1] == End(len(entries), 59, BEGAN_AT + 60, "finished", "clean")


@pytest.mark.parametrize("resumed_at", [40, 60], ids=["from a save", "from its last step"])
def test_steps_that_a_resumed_launch_repeats_are_sent_once(record: Path, resumed_at: int) -> None:
    add_launch(record, ending=("killed", "sigkill"))
    add_launch(record, begin_s=1000, first_step=resumed_at)
    entries = all_entries(record)
    values = points(entries)
    losses = [(step, value) for name, step, _, value in values if name == "train/loss"]
    assert losses == [(step, round(1 / (step + 1), 6)) for step in range(resumed_at + 60)]
    scores = [value for name, _, _, value in values if name == "score/f1"]
    assert len(scores) == len(set(scores)) == (resumed_at + 60) // 10
    assert [step for name, step, *_ in values if name == "train/learning_rate"] == [0, 60]
    assert [(one.state, one.step) for one in entries if isinstance(one, End)] == [
        ("killed", 59),
        ("finished", resumed_at + 59),
    ]


def test_record_that_grows_gives_the_same_entries_as_the_whole(record: Path, tmp_path: Path) -> None:
    at, found = position(), []
    add_launch(record, seconds=35, ending=None)
    with open_history(record) as history:
        entries, at = entries_from(history, at, BEGAN_AT + 35)
        assert not any(isinstance(one, End) for one in entries), "it may go on"
        assert max(one.t for one in entries) < BEGAN_AT + 35 - 4, "what is newer may be incomplete"
        found += entries
        again, _ = entries_from(history, at, BEGAN_AT + 36)
        assert again == []
    with HistoryWriter(record) as writer:
        for second in range(35, 60):
            step = BEGAN_AT + second
            writer.window(StepWindow(1, step, 1.0, 1, second, second, 3, loss_mean=0.5, loss_n=1))
        writer.commit()
    with open_history(record) as history:
        entries, at = entries_from(history, at, BEGAN_AT + 60)
        found += entries
        entries, at = entries_from(history, at, BEGAN_AT + 1800)
        assert entries == [], "it runs on another machine, for all that is seen from here"
        entries, at = entries_from(history, at, BEGAN_AT + 4000)
        found += entries
    assert at.ended
    assert isinstance(found[-1], End)
    assert (found[-1].state, found[-1].cause) == ("unknown", "recorder_lost"), "no end was written"
    steps = [one.step for one in found if isinstance(one, Scalars) and "train/loss" in one.values]
    assert steps == list(range(60))
    assert [one.row for one in found] == list(range(1, len(found) + 1))


def test_windows_that_were_merged_after_they_were_sent_in_part_lose_no_step(record: Path) -> None:
    add_launch(record, seconds=30, ending=None)
    with open_history(record) as history:
        first, at = entries_from(history, position(), BEGAN_AT + 29)
    assert {one.step for one in first if "train/loss" in one.values} == set(range(19))
    merged = record.with_name("merged.sqlite")
    add_launch(merged, seconds=30, width_s=15)
    with open_history(merged) as history:
        rest, _ = entries_from(history, at, BEGAN_AT + 1e6)
    assert [one.step for one in rest if isinstance(one, Scalars) and "train/loss" in one.values] == [29]


def test_numbers_that_are_not_finite_are_left_out_and_counted(record: Path) -> None:
    add_launch(record, seconds=10, ending=None)
    with HistoryWriter(record) as writer:
        window = StepWindow(1, BEGAN_AT + 10, 1.0, 3, 10, 12, 1, loss_n=0, non_finite=3)
        writer.window(window)
        writer.mark(1, BEGAN_AT + 11, "score", {"epoch": 5, "name": "f1", "value": None})
        writer.commit()
    values = points(all_entries(record))
    assert ("train/non_finite_losses", 12, BEGAN_AT + 11, 3.0) in values
    assert not [one for one in values if one[0] == "score/f1" and one[1] > 9]


def test_pictures_are_sent_with_the_end_and_again_only_if_they_have_changed(record: Path) -> None:
    add_launch(record)
    folder = record.parent
    (folder / "curves.png").write_bytes(PNG)
    (folder / "predictions").mkdir()
    (folder / "predictions/00001.png").write_bytes(PNG)
    (folder / "predictions/00002.png").symlink_to("/etc/passwd")
    with open_history(record) as history:
        first, at = entries_from(history, position(), BEGAN_AT + 1e6)
    assert [one.name for one in first if isinstance(one, Picture)] == ["curves", "predictions/00001"]
    add_launch(record, begin_s=1000, first_step=60)
    (folder / "curves.png").write_bytes(PNG * 2)
    with open_history(record) as history:
        second, _ = entries_from(history, at, BEGAN_AT + 1e6)
    assert [one.name for one in second if isinstance(one, Picture)] == ["curves"]


def test_launch_without_an_end_that_another_follows_has_ended(record: Path) -> None:
    add_launch(record, ending=None)
    add_launch(record, begin_s=100, first_step=60, ending=None)
    with open_history(record) as history:
        entries, at = entries_from(history, position(), BEGAN_AT + 160)
    ends = [one for one in entries if isinstance(one, End)]
    assert [(one.state, one.cause) for one in ends] == [("unknown", "recorder_lost")]
    assert (at.launch, at.ended) == (2, False)


def test_long_record_is_sent_in_parts_that_come_to_the_whole(record: Path) -> None:
    add_launch(record, seconds=4000, width_s=10)
    with open_history(record) as history:
        whole, at = entries_from(history, position(), BEGAN_AT + 1e6)
        assert len({round((one.t - BEGAN_AT) // 1500) for one in whole}) == 3
        assert dataclasses.replace(at).ended
    assert sorted(
        one.step for one in whole if isinstance(one, Scalars) and "train/loss" in one.values
    ) == list(range(9, 4000, 10))


def test_json_of_a_record_that_is_nested_without_an_end_ends_no_sending(tmp_path: Path) -> None:
    deep = "[" * 100_000
    assert configuration_of(LaunchRow(BEGAN_AT, "runner", configuration=deep)) == {}
    (tmp_path / "mlflow.json").write_text(deep)
    with pytest.raises(LoggerError, match="nested"):
        read_sending(tmp_path / "mlflow.json", {}, BEGAN_AT)
