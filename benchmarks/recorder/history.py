"""What a record costs early in a run and late: `python -m benchmarks.recorder.history` (three minutes).

A day is not waited for: the writer gets the readings of each second one after the other. Times are CPU time
of this process, the making of the readings left out; bytes are on disk, journal included.
"""

import argparse
import itertools
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.monitors.tables import table
from benchmarks.surroundings import machine
from pylon.recorder.history import HistoryWriter, LaunchRow, SeriesKey, StepWindow, open_history

_SHARES = (0.01, 0.1, 1.0)
_BEGIN = 1_790_000_000.0
_BUCKETS = 1000


@dataclass
class Stage:
    """The record after a part of the run.

    Attributes:
        share: of the run.
        ticks: seconds so far.
        tick_s: mean CPU time of a tick since the stage before.
        worst_s: the longest tick, waiting for the disk included.
        file_bytes: size, journal included.
        open_s, draw_s: CPU times to open the record and to read every figure in 1000 buckets.
    """

    share: float
    ticks: int
    tick_s: float
    worst_s: float
    file_bytes: int
    open_s: float
    draw_s: float


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--figures", type=int, default=100)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--quick", action="store_true", help="ten minutes of ten figures: does it still run?")
    arguments = parser.parse_args()
    figures, hours = (10, 1 / 6) if arguments.quick else (arguments.figures, arguments.hours)
    with tempfile.TemporaryDirectory() as folder:
        stages = measure(Path(folder), figures, round(hours * 3600))
    rows = [
        [
            f"{100 * one.share:g} % ({one.ticks} ticks)",
            f"{1e3 * one.tick_s:.2f} ms",
            f"{1e3 * one.worst_s:.0f} ms",
            f"{one.file_bytes / 1e6:.1f} MB",
            f"{one.file_bytes / one.ticks / figures:.1f}",
            f"{one.open_s:.2f} s + {one.draw_s:.2f} s",
        ]
        for one in stages
    ]
    head = ["after", "CPU of a tick", "longest tick", "file", "bytes a reading", "CPU to open + to draw"]
    print(f"{machine()}; SQLite {sqlite3.sqlite_version}; {figures} figures at 1 Hz for {hours:.2g} h\n")
    print(table(head, rows))


def measure(folder: Path, figures: int, ticks: int) -> list[Stage]:
    """Write a run of so many ticks; the record at each share of it."""
    keys = [SeriesKey("localhost", "", f"figure {number}", "percent", "host") for number in range(figures)]
    edges, stages = [round(share * ticks) for share in _SHARES], []
    with HistoryWriter(folder / "history.sqlite") as writer:
        launch = writer.begin(LaunchRow(_BEGIN, "runner"))
        for share, (since, until) in zip(_SHARES, itertools.pairwise((0, *edges)), strict=True):
            spent_s, worst_s = 0.0, 0.0
            for second in range(since, until):
                readings = [(key, (second * 7 + place) % 101 + 0.25, None) for place, key in enumerate(keys)]
                begun, cpu_s = time.perf_counter(), time.process_time()
                _tick(writer, launch, second, readings)
                spent_s += time.process_time() - cpu_s
                worst_s = max(worst_s, time.perf_counter() - begun)
            size = sum(file.stat().st_size for file in folder.iterdir() if not file.name.endswith("shm"))
            tick_s = spent_s / (until - since)
            stages.append(Stage(share, until, tick_s, worst_s, size, *_read(folder, until)))
    return stages


def _tick(
    writer: HistoryWriter, launch: int, second: int, readings: list[tuple[SeriesKey, float, None]]
) -> None:
    writer.sample(_BEGIN + second, readings)
    steps = (5, 5 * second, 5 * second + 4, 0, 0.18, 0.2, 0.25, 0.001, 0.002, 0.01, 0.9, 1.0, 1.1, 5, 0)
    writer.window(StepWindow(launch, _BEGIN + second, 1.0, *steps))
    writer.commit()


def _read(folder: Path, ticks: int) -> tuple[float, float]:
    begun = time.process_time()
    with open_history(folder) as history:
        opened = time.process_time()
        for key in history.series():
            history.samples(key, _BEGIN, _BEGIN + ticks, _BUCKETS)
        history.windows(1, buckets=_BUCKETS)
        return opened - begun, time.process_time() - opened


if __name__ == "__main__":
    main()
