"""A record stays under its limit and keeps every peak, whatever the number of figures and the time."""

import itertools
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylon.recorder.history import HistoryWriter, LaunchRow, SeriesKey, StepWindow, open_history
from pylon.recorder.history.levels import LevelRow, parts

T = 1_790_000_003.25
LIMIT = 4 * 1024 * 1024


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, where thousands of transactions wait for no disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if "shm" not in file.name)


@pytest.mark.parametrize(
    ("figures", "step_s"),
    [
        (64, 1.0),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in [(1, 1.0), (64, 10.0), (64, 0.1), (8, 600.0)]
        ),
    ],
)
def test_size_stays_under_the_limit_and_nothing_is_miscounted(
    folder: Path, figures: int, step_s: float
) -> None:
    keys = [SeriesKey("localhost", "", f"figure {number}") for number in range(figures)]
    ticks = 2500
    with HistoryWriter(folder / "history.sqlite", limit_bytes=LIMIT) as writer:
        writer.begin(LaunchRow(T, "runner"))
        for tick in range(ticks):
            # One peak in each direction, early, which thinning must not lose.
            value = {10: 1000.0, 11: -1000.0}.get(tick, float(tick % 7))
            writer.sample(T + tick * step_s, [(key, value, None) for key in keys])
            assert writer.commit(), writer.error
            assert size(folder) <= LIMIT
        end = T + ticks * step_s
        with open_history(writer.path) as history:
            assert history.marks(kinds={"lost"}) == []
            for buckets in (1, 50, 1000):
                found = history.samples(keys[-1], T, end, buckets)
                assert len(found) <= buckets
                assert sum(one.n for one in found) == ticks
                assert (min(one.min for one in found), max(one.max for one in found)) == (-1000.0, 1000.0)
                assert all(earlier.t < later.t for earlier, later in itertools.pairwise(found))
            finest = history.readings(keys[0], 0, end)
            assert sum(one.n for one in finest) == ticks
            assert finest[-1].width == 0, "the newest minutes are kept as they were read"


def test_other_program_in_a_long_read_cannot_make_the_log_grow(folder: Path) -> None:
    now = 0.0
    key = SeriesKey("localhost", "", "figure")
    with HistoryWriter(folder / "history.sqlite", limit_bytes=LIMIT, clock=lambda: now) as writer:
        writer.begin(LaunchRow(T, "runner"))
        other = sqlite3.connect(writer.path, isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM launch").fetchall()
        for tick in range(4000):
            now = float(tick)
            writer.sample(T + tick, [(key, 1.0, None)])
            writer.commit()
            assert size(folder) <= 1.1 * LIMIT
            if writer.error is not None:
                break
        assert "long transaction" in str(writer.error)
        other.close()
        now += 60
        assert writer.commit()
    assert size(folder) <= LIMIT


def test_marks_and_windows_of_a_long_run_are_bounded_and_what_goes_is_counted(folder: Path) -> None:
    with HistoryWriter(folder / "history.sqlite", limit_bytes=LIMIT) as writer:
        launch = writer.begin(LaunchRow(T, "runner"))
        writer.mark(launch, T, "hang", {"seconds": 60})
        for tick in range(3000):
            writer.mark(launch, T + tick, "epoch", {"number": tick, "text": "x" * 500})
            writer.window(StepWindow(launch, T + tick, 1.0, 4, 4 * tick, 4 * tick + 3, 0, 0.1, 0.2, 0.3))
            assert writer.commit()
        with open_history(writer.path) as history:
            assert len(history.marks(launch, {"hang"})) == 1
            lost = history.marks(launch, {"lost"})
            assert lost
            assert '"mark"' in str(lost[0].detail)
            assert 500 < len(history.marks(launch, {"epoch"})) < 3000
            windows = history.windows(launch, buckets=10)
            assert len(windows) <= 10
            assert windows[-1].last_step == 4 * 2999 + 3
            assert (windows[0].step_min, windows[0].step_max) == (0.1, 0.3)
    assert size(folder) <= LIMIT


def test_windows_of_old_hours_are_merged_without_losing_a_step(folder: Path) -> None:
    with HistoryWriter(folder / "history.sqlite", limit_bytes=LIMIT) as writer:
        launch = writer.begin(LaunchRow(T, "runner"))
        for tick in range(6000):
            slow = 9.0 if tick == 5 else 0.3
            loss = None if tick % 2 else float(tick)
            writer.window(
                StepWindow(
                    *(launch, T + 3 * tick, 3.0, 2, 2 * tick, 2 * tick + 1, 0, 0.1, 0.2, slow, 0.0, 0.1, 0.2),
                    *(loss, loss, loss, 0 if loss is None else 1, 0),
                )
            )
            if tick % 4 == 0:
                writer.commit()
        writer.commit()
        with open_history(writer.path) as history:
            windows = history.windows(launch)
    assert len(windows) < 4000
    assert sum(one.n for one in windows) == 12000
    assert max(one.step_max or 0 for one in windows) == 9.0
    assert {one.width for one in windows} == {3.0, 10.0}
    assert sum(one.loss_n or 0 for one in windows) == 3000
    mean = sum((one.loss_mean or 0) * (one.loss_n or 0) for one in windows) / 3000
    assert mean == pytest.approx(sum(range(0, 6000, 2)) / 3000)


LEVELS = [LevelRow(0, 300, 500), LevelRow(10, 120, 480), LevelRow(60, 0, 420)]


@pytest.mark.parametrize(
    ("bucket_s", "expected"),
    [
        (1, [(60, 0, 120), (10, 120, 300), (0, 300, 500), (-1, 0, 600)]),
        (10, [(60, 0, 120), (10, 120, 480), (0, 480, 500), (-1, 0, 600)]),
        (99, [(60, 0, 420), (10, 420, 480), (0, 480, 500), (-1, 0, 600)]),
    ],
)
def test_widest_level_that_is_narrow_enough_is_read(
    bucket_s: float, expected: list[tuple[int, float, float]]
) -> None:
    assert [tuple(one) for one in parts(LEVELS, 0, 600, bucket_s)] == expected


def test_limit_that_holds_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="limit_bytes is 1000, expected at least 4194304"):
        HistoryWriter(folder / "history.sqlite", limit_bytes=1000)


@pytest.mark.slow
def test_file_above_a_lowered_limit_is_written_on_and_grows_no_more(folder: Path) -> None:
    now = 0.0
    keys = [SeriesKey("localhost", "", f"figure {number}") for number in range(400)]
    with HistoryWriter(folder / "history.sqlite") as writer:
        writer.begin(LaunchRow(T, "runner"))
        for tick in range(400):
            writer.sample(T + tick, [(key, tick + 0.5, None) for key in keys])
            writer.commit()
    before = size(folder)
    assert before > LIMIT
    with HistoryWriter(folder / "history.sqlite", limit_bytes=LIMIT, clock=lambda: now) as writer:
        launch = writer.begin(LaunchRow(T + 1000, "runner"))
        for tick in range(200):
            now += 1
            writer.sample(T + 1000 + tick, [(key, tick + 0.5, None) for key in keys[:50]])
            writer.commit()
        now += 60
        assert writer.commit(), writer.error
        with open_history(folder) as history:
            lost = [one.detail for one in history.marks(launch, {"lost"})]
            assert (sum(one.n for one in history.samples(keys[0], T + 1000, T + 2000)), lost) == (200, [])
    assert size(folder) <= before + 0.2 * LIMIT


def test_figures_beyond_what_the_limit_allows_are_named_and_not_recorded(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [SeriesKey("localhost", "", f"figure {number}") for number in range(66)]
    with HistoryWriter(folder / "history.sqlite", limit_bytes=LIMIT) as writer:
        launch = writer.begin(LaunchRow(T, "runner"))
        for tick in range(3):
            writer.sample(T + tick, [(key, 1.0, None) for key in keys])
            assert writer.commit()
    with open_history(folder) as history:
        assert len(history.series()) == 64
        (lost,) = history.marks(launch, {"lost"})
        assert '"series": 2' in str(lost.detail)
    assert caplog.text.count("figure 64") == 1
