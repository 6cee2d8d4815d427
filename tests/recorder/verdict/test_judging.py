"""The verdict from windows, marks and readings, as they come and from a record: both give the same."""

from pathlib import Path

import pytest

from pylon.recorder.history import HistoryWriter, LaunchRow, MarkRow, SeriesKey, StepWindow, open_history
from pylon.recorder.verdict import NOT_ENOUGH, LiveVerdict, of_history

T = 1_790_000_000.0
CPU = SeriesKey("localhost", "", "run_cpu", "percent", "process")
UTILIZATION = SeriesKey("localhost", "GPU-1", "gpu_utilization", "percent", "device")
MEMORY = SeriesKey("localhost", "GPU-1", "gpu_run_memory_used", "bytes", "device")
OTHERS = SeriesKey("localhost", "GPU-2", "gpu_utilization", "percent", "device")
OTHERS_MEMORY = SeriesKey("localhost", "GPU-2", "gpu_run_memory_used", "bytes", "device")
FAR = SeriesKey("gpu7", "GPU-9", "gpu_utilization", "percent", "device")
REASONS = SeriesKey("localhost", "GPU-1", "gpu_throttle_reasons", "bits", "device")


def window(launch: int, second: int, wait_s: float, *, step: int | None = None, n: int = 5) -> StepWindow:
    first = 5 * second if step is None else step
    return StepWindow(
        *(launch, T + second, 1.0, n, first, first + n - 1, 0),
        *(0.1, 0.2, 0.3, wait_s / 2, wait_s, 2 * wait_s),
    )


def run(writer: HistoryWriter, live: LiveVerdict, launch: int, seconds: range, **options: float) -> None:
    """A second of training at a time; or of validation, in which the GPU is idle."""
    for second in seconds:
        t = T + second
        training = "validating" not in options
        if training:
            row = window(launch, second, options.get("wait_s", 0.001))
            writer.window(row)
            live.add_window(row)
        readings = [
            (CPU, 50.0, None),
            (UTILIZATION, options.get("gpu", 95.0) if training else 0.0, None),
            (MEMORY, 1e9, None),
            (OTHERS, 3.0, None),
            (OTHERS_MEMORY, 0.0, None),
            (FAR, 1.0, None),
            (REASONS, options.get("reasons", 0.0), None),
        ]
        writer.sample(t + 0.5, readings)
        live.add_readings(t + 0.5, readings)
        writer.commit()


def mark(writer: HistoryWriter, live: LiveVerdict, launch: int, second: float, kind: str) -> None:
    writer.mark(launch, T + second, kind)
    live.add_mark(MarkRow(launch, T + second, kind))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "gpu_busy"),
        ({"wait_s": 0.08, "gpu": 50.0}, "input_bound"),
        ({"reasons": float(0x40)}, "throttled"),
        ({"gpu": 30.0}, "gpu_idle"),
    ],
)
def test_live_and_from_a_record(tmp_path: Path, options: dict[str, float], expected: str) -> None:
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        launch = writer.begin(LaunchRow(T, "runner"))
        live = LiveVerdict(launch)
        assert live.due(T) is None
        run(writer, live, launch, range(70), **options)
        row = live.due(T + 70)
        assert row is not None
        assert (row.name, row.t, row.width) == (expected, T, 70.0)
        assert live.due(T + 71) is None, "one verdict a minute"
        writer.verdict(row)
        writer.commit()
        with open_history(tmp_path) as history:
            found = of_history(history, launch)
            assert history.verdicts(launch) == [row]
    assert (found.name, found.step_s_if_cured) == (expected, pytest.approx(row.step_s_if_cured))
    assert found.facts.gpus == 1, "the GPU that the run holds memory of"


def test_idle_gpu_of_validation_and_saves_is_left_out(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        launch = writer.begin(LaunchRow(T, "runner"))
        live = LiveVerdict(launch)
        live.due(T)
        run(writer, live, launch, range(100))
        mark(writer, live, launch, 100, "validation_begin")
        run(writer, live, launch, range(100, 112), validating=1)
        mark(writer, live, launch, 112, "validation_end")
        run(writer, live, launch, range(112, 130))
        row = live.due(T + 130)
        assert row is not None
        with open_history(tmp_path) as history:
            found = of_history(history, launch)
    assert (row.name, found.name) == ("gpu_busy", "gpu_busy")
    assert found.facts.gpu_percent == 95.0
    assert found.facts.validation_s == pytest.approx(12.0)


def test_short_minute_after_a_validation_is_not_validation_bound(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        launch = writer.begin(LaunchRow(T, "runner"))
        live = LiveVerdict(launch)
        live.due(T)
        run(writer, live, launch, range(400))
        assert live.due(T + 400) is not None
        mark(writer, live, launch, 400, "validation_begin")
        run(writer, live, launch, range(400, 450), validating=1)
        mark(writer, live, launch, 450, "validation_end")
        run(writer, live, launch, range(450, 462))
        row = live.due(T + 462)
    assert row is not None
    assert row.name == "gpu_busy"


def test_first_steps_are_left_out_also_after_a_resume(tmp_path: Path) -> None:
    live = LiveVerdict(1)
    live.due(T)
    live.add_window(window(1, 0, 0.2, step=1000, n=9))
    for second in range(1, 70):
        live.add_window(window(1, second, 0.001, step=1010 + 5 * second))
    row = live.due(T + 70)
    assert row is not None
    assert row.name == "none_found"


def test_few_steps_wait_for_more_and_then_are_not_enough() -> None:
    live = LiveVerdict(1)
    live.due(T)
    live.add_window(window(1, 100, 0.1))
    assert live.due(T + 120) is None
    row = live.due(T + 700)
    assert row is not None
    assert row.name == NOT_ENOUGH


def test_end_of_a_validation_that_is_lost_hides_nothing_after_it() -> None:
    live = LiveVerdict(1)
    live.due(T)
    live.add_mark(MarkRow(1, T + 1, "validation_begin"))
    for second in range(10, 80):
        live.add_window(window(1, second, 0.001))
        live.add_readings(T + second + 0.5, [(UTILIZATION, 99.0, None), (MEMORY, 1.0, None)])
    row = live.due(T + 80)
    assert row is not None
    assert row.name == "gpu_busy"


def test_record_without_steps_has_no_verdict(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        launch = writer.begin(LaunchRow(T, "wrapper"))
        with open_history(tmp_path) as history:
            assert of_history(history, launch).name == NOT_ENOUGH
