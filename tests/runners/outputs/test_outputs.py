import contextlib
import datetime
import io
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from pylon.metrics.directions import Direction
from pylon.runners.logs import console_handler
from pylon.runners.outputs.curves import draw_curves
from pylon.runners.outputs.display import Status, opened_display
from pylon.runners.outputs.pictures import draw_batch, draw_prediction
from pylon.runners.outputs.report import report_scores, time_left


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_errors_are_red_for_false_alarms_blue_for_misses_grey_where_ignored(tmp_path: Path) -> None:
    target = torch.tensor([[1, 0], [1, 255]])
    prediction = torch.tensor([[1, 1], [0, 1]])
    draw_prediction(tmp_path / "0.png", (torch.rand(3, 2, 2), torch.rand(3, 2, 2)), target, prediction)
    errors = pixels(tmp_path / "0.png")[-2:, -2:]
    assert errors[0, 0].tolist() == [255, 255, 255]
    assert errors[0, 1, 0] > 200 > errors[0, 1, 2], "false alarm is red"
    assert errors[1, 0, 2] > 200 > errors[1, 0, 0], "missed change is blue"
    assert errors[1, 1].tolist() == [128, 128, 128]


def test_constant_image_and_single_channel_are_drawn(tmp_path: Path) -> None:
    flat = torch.zeros(1, 4, 4)
    draw_prediction(tmp_path / "0.png", (flat, flat), torch.zeros(4, 4).long(), torch.zeros(4, 4).long())
    assert pixels(tmp_path / "0.png").shape == (16 + 4, 5 * 4 + 4 * 4, 3)


def test_at_most_so_many_pictures_named_by_datapoint(tmp_path: Path) -> None:
    batch = {
        "inputs": {"img_1": torch.rand(3, 3, 4, 4), "img_2": torch.rand(3, 3, 4, 4)},
        "labels": {"change_map": torch.zeros(3, 4, 4).long()},
        "meta_info": {"idx": [7, 3, 5]},
    }
    assert draw_batch(tmp_path, batch, torch.rand(3, 2, 4, 4), at_most=2) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00003.png", "00007.png"]


def test_undefined_scores_leave_a_gap_in_the_curves(tmp_path: Path) -> None:
    history = [
        {"epoch": epoch, "training_loss": 1.0 / (epoch + 1), "validation": {"f1": score}}
        for epoch, score in enumerate([None, 0.5, None])
    ]
    draw_curves(tmp_path / "curves.png", history, "f1")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1000, 400)


FIGURES = {
    "cpu_percent": 41.6,
    "memory_used_bytes": 3 * 2**30,
    "memory_total_bytes": 8 * 2**30,
    "gpu_util_percent": [None, 90.0],
    "gpu_memory_used_bytes": [None, 2**30],
    "gpu_memory_total_bytes": [2**30, 2**30],
}
STATUS = Status("train", 1, 4, 5, 10, loss=0.25, learning_rate=1e-3, step_time_s=0.5, monitor=FIGURES)


def test_terminal_shows_loss_rate_time_and_hardware_with_unknown_as_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=160)
    with opened_display(console) as display:
        assert display.due()
        display.show(STATUS)
        assert not display.due(), "a redraw is due twice a second at most"
    text = shown.getvalue()
    for word in (
        "epoch 2/4",
        "train 5/10",
        "loss 0.2500",
        "lr 1.00e-03",
        "step 0.50 s",
        "cpu 42 %",
        "3.0/8.0 GiB",
    ):
        assert word in text, word
    assert "? ?, 90 % 1.0/1.0 GiB" in text


@pytest.mark.parametrize("terminal", ["dumb", "unknown", "", None])
def test_terminal_that_cannot_move_its_cursor_gets_plain_lines(
    terminal: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if terminal is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", terminal)
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=160)
    with caplog.at_level(logging.INFO), opened_display(console) as display:
        display.show(STATUS)
    assert "epoch 2/4 train 5/10  loss 0.2500" in caplog.text
    console_handler(console).handle(logging.makeLogRecord({"msg": "a line", "levelno": logging.INFO}))
    assert shown.getvalue().endswith("a line\n")
    assert "\x1b" not in shown.getvalue()


def test_output_that_is_no_terminal_gets_plain_lines(caplog: pytest.LogCaptureFixture) -> None:
    shown = io.StringIO()
    with caplog.at_level(logging.INFO), opened_display(Console(file=shown)) as display:
        display.show(STATUS)
    assert shown.getvalue() == ""
    assert "epoch 2/4 train 5/10  loss 0.2500" in caplog.text


def test_leading_score_is_logged_next_to_the_baselines(caplog: pytest.LogCaptureFixture) -> None:
    scores = {"f1": 0.5, "iou": None}
    baselines: dict[str, dict[str, float | None]] = {"random": {"f1": 0.1}, "all background": {"f1": None}}
    with caplog.at_level(logging.INFO):
        assert report_scores("test", "f1", scores, baselines, "higher") is True
    assert "test f1: 0.5000 (baselines: random 0.1000, all background undefined)" in caplog.text
    assert "iou undefined" in caplog.text
    assert all(record.levelno == logging.INFO for record in caplog.records)


@pytest.mark.parametrize(
    ("own", "direction", "better"),
    [(0.4, "higher", False), (0.5, "higher", False), (0.6, "higher", True), (0.6, "lower", False),
     (0.1, "lower", True), (None, "higher", False)],
)  # fmt: skip
def test_score_that_is_not_better_than_the_best_baseline_is_a_warning(
    caplog: pytest.LogCaptureFixture, own: float | None, direction: Direction, better: bool
) -> None:
    baselines: dict[str, dict[str, float | None]] = {"a": {"f1": 0.5}, "b": {"f1": 0.2}, "c": {"f1": None}}
    assert report_scores("test", "f1", {"f1": own}, baselines, direction) is better
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == (not better)
    assert all("a (0.5000)" in text and "undefined)" not in text for text in warnings)


@pytest.mark.parametrize(
    ("epoch_s", "left", "expected"),
    [
        (10.0, 3, "30 s, 2026-05-01 12:00"),
        (219.5, 4, "15 min, 2026-05-01 12:14"),
        (1800.0, 5, "2 h 30 min, 2026-05-01 14:30"),
        (3600.0, 50, "2 d 2 h, 2026-05-03 14:00"),
    ],
)
def test_expected_end_follows_from_the_last_epochs(epoch_s: float, left: int, expected: str) -> None:
    times = [epoch_s - 1, epoch_s, epoch_s + 1]
    noon = lambda: datetime.datetime(2026, 5, 1, 12, 0)  # noqa: E731 - local time, for people
    assert time_left(times, left, now=noon) == f"training ends in about {expected}"
    early = time_left(times, left, may_stop_early=True, now=noon)
    assert early == f"training ends in at most about {expected}"
    assert time_left(times, 0, now=noon) is None


def test_end_beyond_the_calendar_is_a_duration_alone() -> None:
    assert time_left([1e9], 10**6) == "training ends in about 11574074074 d 1 h"


def test_without_a_baseline_nothing_is_known_of_them(caplog: pytest.LogCaptureFixture) -> None:
    assert report_scores("test", "f1", {"f1": 0.1}, {"a": {"f1": None}}, "higher") is None
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]


def test_reader_of_the_console_who_goes_away_costs_nothing_but_the_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as gone:
        handler = console_handler(Console(file=gone))
        handler.handle(logging.makeLogRecord({"msg": "nobody reads this", "levelno": logging.INFO}))
        handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("a bug",), "levelno": logging.INFO}))
        with contextlib.suppress(BrokenPipeError):
            gone.close()
    said = capsys.readouterr().err
    assert "BrokenPipeError" not in said
    assert "--- Logging error ---" in said, "a bug is still shown"


@pytest.mark.parametrize(("scores", "limits"), [([0.2, 0.9], (-0.02, 1.02)), ([6.3, None, 1.2], None)])
def test_every_score_is_inside_the_picture_and_epochs_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores: list[float | None], limits: object
) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: (drawn.append(self), Path(path).touch()))
    history = [
        {"epoch": epoch, "training_loss": 1.0, "validation": {"error": score}}
        for epoch, score in enumerate(scores)
    ]
    draw_curves(tmp_path / "curves.png", history, "error")
    axes = drawn[0].axes[1]
    low, high = axes.get_ylim()
    assert all(low <= score <= high for score in scores if score is not None)
    assert limits is None or (low, high) == pytest.approx(limits)
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
