"""Monitors for hours under random faults: `python -m tests.shutdown.soak --hours 2 --seed S`.

This process trains nothing and watches itself at 10 Hz, with a GPU driver that is a stand-in. Every
few seconds something happens, from the seed: one of the monitors' processes is killed, terminated,
stopped or stopped and continued; the driver hangs, crashes, loses a GPU, is reset, or is slow. Every
half minute its own memory, descriptors and threads are noted, and those of the monitors, as CSV.

exit codes: 0 everything stayed flat, 1 something grew or was left, 2 the command line is wrong
"""

import argparse
import contextlib
import csv
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil

from pylon.monitor import SystemMonitor
from tests.monitor.nvml_stand_in import StandIn

STEP_S = 0.005
NOTE_EVERY_S = 30.0
# What a flat curve may differ by between its first and its last quarter.
MEMORY_SLACK_BYTES = 3 << 20
COUNT_SLACK = 2
GONE_WITHIN_S = 2.0
_DRIVER_FAULTS = (
    "hang nvmlDeviceGetUtilizationRates",
    "crash nvmlDeviceGetPowerUsage",
    "lost 1",
    "generation {generation}",
    "slow nvmlDeviceGetTemperature 200",
    "error nvmlDeviceGetUtilizationRates 999",
)
_BLOWS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT)


@dataclass(frozen=True)
class Row:
    """One line of the curve. Sizes in bytes; the monitors' are proportional ones."""

    elapsed_s: float
    own_memory: int
    own_descriptors: int
    own_threads: int
    monitor_processes: int
    monitor_memory: int
    zombies: int
    faults: int
    refreshes: int
    cpu_current_share: float


class Soak:
    """The watched process and what happens to its monitors.

    Args:
        seed: all faults follow from it.
        folder: for the driver's stand-in.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self._random = random.Random(seed)
        self._driver = StandIn(folder)
        self._driver.behave("gpus 2")
        os.environ.update(self._driver.environment)
        self.monitor = SystemMonitor(interval_s=0.1, timeout_s=1.0, join_timeout_s=1.0)
        self.rows: list[Row] = []
        self._faults = 0
        self._generation = 0
        self._looks = self._current = 0

    def run(self, seconds: float, write: "csv.DictWriter[str]") -> None:
        begun_s = time.monotonic()
        fault_s, note_s, heal_s = begun_s + 10, begun_s + NOTE_EVERY_S, float("inf")
        while (now := time.monotonic()) < begun_s + seconds:
            cpu = self.monitor.latest().cpu.get("localhost")
            self._looks += 1
            self._current += cpu is not None and cpu.current is not None
            if now >= heal_s:
                self._driver.behave("gpus 2", f"generation {self._generation}")
                heal_s = float("inf")
            if now >= fault_s:
                fault_s = now + self._random.uniform(5, 20)
                heal_s = min(heal_s, now + self._random.uniform(1, 4))
                self._hurt()
            if now >= note_s:
                note_s += NOTE_EVERY_S
                self.rows.append(self._row(now - begun_s))
                write.writerow(asdict(self.rows[-1]))
            time.sleep(STEP_S)

    def _hurt(self) -> None:
        self._faults += 1
        if self._random.random() < 0.4:
            self._generation += 1
            fault = self._random.choice(_DRIVER_FAULTS).format(generation=self._generation)
            self._driver.behave("gpus 2", fault)
            return
        children = monitor_processes()
        if children:
            with contextlib.suppress(psutil.NoSuchProcess):
                os.kill(self._random.choice(children).pid, self._random.choice(_BLOWS))

    def _row(self, elapsed_s: float) -> Row:
        own = psutil.Process()
        children = monitor_processes()
        return Row(
            round(elapsed_s),
            own.memory_full_info().uss,
            own.num_fds(),
            threading.active_count(),
            len(children),
            sum(proportional_bytes(child) for child in children),
            sum(is_zombie(child) for child in children),
            self._faults,
            self.monitor.latest().sequence,
            round(self._current / max(self._looks, 1), 4),
        )


def monitor_processes() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def proportional_bytes(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0


def is_zombie(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return False


def verdict(rows: list[Row]) -> list[str]:
    """What grew from the first quarter of the curve to the last, or was there too often."""
    quarter = max(1, len(rows) // 4)
    found = []
    for name, slack in (
        ("own_memory", MEMORY_SLACK_BYTES),
        ("monitor_memory", 4 * MEMORY_SLACK_BYTES),
        ("own_descriptors", COUNT_SLACK),
        ("own_threads", 0),
        ("monitor_processes", COUNT_SLACK),
    ):
        first, last = (
            statistics.median(getattr(row, name) for row in part)
            for part in (rows[:quarter], rows[-quarter:])
        )
        say(f"{name:20} first quarter {first:14,.0f}   last quarter {last:14,.0f}")
        if last > first + slack:
            found.append(f"{name} grew from {first:,.0f} to {last:,.0f}")
    # A process that has just died may be seen before it is waited for; it must not stay.
    if sum(row.zombies > 0 for row in rows) > max(1, len(rows) // 20):
        found.append(f"zombies in {sum(row.zombies > 0 for row in rows)} of {len(rows)} looks")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.shutdown.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--hours", type=float, default=0.1, help="how long (0.1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--curve", type=Path, default=Path("soak.csv"), help="where the CSV goes (soak.csv)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, options.curve.open("w", buffering=1) as file:
        soak = Soak(options.seed, Path(folder))
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        with soak.monitor:
            soak.run(3600 * options.hours, writer)
        gone_by_s = time.monotonic() + GONE_WITHIN_S
        while monitor_processes() and time.monotonic() < gone_by_s:
            time.sleep(0.02)
        left = [f"{process.pid} {process.name()}" for process in monitor_processes()]
    if not soak.rows:
        say(f"too short: the first line of the curve comes after {NOTE_EVERY_S:g} s")
        return 2
    found = verdict(soak.rows) + ([f"left behind: {left}"] if left else [])
    last = soak.rows[-1]
    share = f"{100 * last.cpu_current_share:.1f} % of the time"
    say(f"{last.faults} faults, {last.refreshes} refreshes, a current sample {share}")
    for line in found:
        say(line)
    return 1 if found else 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
