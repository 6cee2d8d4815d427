"""What recording costs, how soon an end is written: `python -m benchmarks.recorder.process` (four minutes).

A program of one thread takes a step of 50 ms again and again, watched in both cases, recorded in one. CPU
time is that of all its processes; memory is proportional (PSS): shared pages count once. Runs take turns.
"""

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.monitors.tables import table
from benchmarks.surroundings import machine
from pylon.recorder.channel import Channel
from pylon.recorder.history import HistoryError, open_history

_PROGRAM = """
import sys, time
from pylon.monitor import SystemMonitor
from pylon.recorder import Recorder
folder, recorded, seconds = sys.argv[1], sys.argv[2] == "yes", float(sys.argv[3])
monitor = SystemMonitor(gpu=False, interval_s=1.0)
recorder = Recorder(folder + "/history.sqlite", kind="loop", monitor=monitor)
if recorded:
    recorder.start()
monitor.start()
time.sleep(3)
print("ready", flush=True)
until, number = time.monotonic() + seconds, 0
while time.monotonic() < until:
    time.sleep(0.05)
    recorder.sender.step(number, 0.05, 0.01, 1.0, 0)
    number += 1
print("ending", flush=True)
sys.stdin.readline()
started = time.perf_counter()
if recorded:
    recorder.stop()
monitor.stop()
print(time.perf_counter() - started, flush=True)
"""
_LOOK_EVERY_S = 0.002


@dataclass
class Cost:
    """One run.

    Attributes:
        cpu_s: CPU seconds per minute by process name.
        memory_bytes: proportional memory by process name.
        stop_s: what its `stop` took.
    """

    cpu_s: dict[str, float]
    memory_bytes: dict[str, int]
    stop_s: float


def cost(folder: Path, *, recorded: bool, seconds: float) -> Cost:
    """Run the program, and add up what its processes use between its 'ready' and its 'ending'."""
    with _started(folder, recorded=recorded, seconds=seconds) as program:
        program.stdout.readline()
        before, began = _cpu(program.pid), time.monotonic()
        program.stdout.readline()
        after, minutes = _cpu(program.pid), (time.monotonic() - began) / 60
        memory = _memory(program.pid)
        program.stdin.write(b"\n")
        program.stdin.flush()
        stop_s = float(program.stdout.readline())
    used = {name: (value - before.get(name, 0.0)) / minutes for name, value in after.items()}
    return Cost(used, memory, stop_s)


def seconds_to_row(folder: Path) -> float:
    """From SIGKILL to the row of the end, as another process reads it."""
    with _started(folder, recorded=True, seconds=60.0) as program:
        program.stdout.readline()
        program.send_signal(signal.SIGKILL)
        program.wait()
        died = time.monotonic()
        while time.monotonic() - died < 10:
            with contextlib.suppress(HistoryError), open_history(folder / "history.sqlite") as history:
                if history.ending(1) is not None:
                    return time.monotonic() - died
            time.sleep(_LOOK_EVERY_S)
    return float("inf")


def step_s(steps: int) -> float:
    """What a step's call takes, at best."""
    channel, best = Channel.create(), float("inf")
    step = channel.sender.step
    for _ in range(10):
        started = time.perf_counter()
        for number in range(steps):
            step(number, 0.05, 0.01, 1.0, 0)
        best = min(best, (time.perf_counter() - started) / steps)
    channel.close()
    return best


@contextlib.contextmanager
def _started(folder: Path, *, recorded: bool, seconds: float) -> Iterator[Any]:
    word = "yes" if recorded else "no"
    command = [sys.executable, "-c", _PROGRAM, str(folder), word, str(seconds)]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield program
    finally:
        program.kill()
        program.wait()
        for pipe in (program.stdin, program.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _tree(pid: int) -> list[psutil.Process]:
    program = psutil.Process(pid)
    return [program, *program.children(recursive=True)]


def _cpu(pid: int) -> dict[str, float]:
    return {_name(one, pid): sum(one.cpu_times()[:2]) for one in _tree(pid)}


def _memory(pid: int) -> dict[str, int]:
    return {_name(one, pid): one.memory_full_info().pss for one in _tree(pid)}


def _name(process: psutil.Process, pid: int) -> str:
    return "program" if process.pid == pid else process.name()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recorder.process", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=float, default=40.0, help="length of a run (40)")
    parser.add_argument("--runs", type=int, default=2, help="of each kind (2)")
    parser.add_argument("--deaths", type=int, default=10, help="how often it is killed (10)")
    parser.add_argument("--quick", action="store_true", help="one short run of each: to see that it works")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.runs, options.deaths = 2.0, 1, 1
    print(machine())
    costs: dict[bool, list[Cost]] = {False: [], True: []}
    for _ in range(options.runs):
        for recorded, found in costs.items():
            with tempfile.TemporaryDirectory() as folder:
                found.append(cost(Path(folder), recorded=recorded, seconds=options.seconds))
    names = list(dict.fromkeys(name for found in costs.values() for one in found for name in one.cpu_s))
    rows = [
        [name, *(_shown(found, name) for found in costs.values())]
        for name in sorted(names, key=lambda name: name != "program")
    ]
    rows.append(["all but the program", *(_shown(found, None) for found in costs.values())])
    print(table(["process: CPU s a minute, MiB", "without", "recorded"], rows))
    stops = [1000 * statistics.median(one.stop_s for one in found) for found in costs.values()]
    print(f"stop: {stops[0]:.0f} ms without, {stops[1]:.0f} ms recorded")
    print(f"a step's call: {1e6 * step_s(2000):.2f} us")
    times = []
    for _ in range(options.deaths):
        with tempfile.TemporaryDirectory() as folder:
            times.append(seconds_to_row(Path(folder)))
    print(f"SIGKILL to the row: median {statistics.median(times):.3f} s, longest {max(times):.3f} s")


def _shown(costs: list[Cost], name: str | None) -> str:
    def total(values: dict[str, float]) -> float | None:
        if name is not None:
            return values.get(name)
        return sum(value for one, value in values.items() if one != "program")

    cpu = [one for one in (total(cost.cpu_s) for cost in costs) if one is not None]
    memory = [one for one in (total({**cost.memory_bytes}) for cost in costs) if one is not None]
    return "-" if not cpu else f"{statistics.mean(cpu):.3f}  {statistics.mean(memory) / 2**20:.1f}"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
