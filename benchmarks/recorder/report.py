"""How long a report takes, and how large its page is: `python -m benchmarks.recorder.report` (five minutes).

The record of a day with eight GPUs is written first, second by second. Each command is a process of its
own, as a user starts it: elapsed and CPU time of the fastest of three. The page is opened by Chromium, if
playwright is installed, without a network: until its first frame is drawn.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.monitors.tables import table
from benchmarks.surroundings import machine
from tests.recorder.synthetic import Run, write_history

_TURNS = 3


def main(words: Sequence[str] | None = None) -> None:
    """Parse, write the records, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="two minutes of two GPUs: does it still run?")
    arguments = parser.parse_args(words)
    hours, gpus, turns = (1 / 30, 2, 1) if arguments.quick else (arguments.hours, arguments.gpus, _TURNS)
    run = Run(seconds=round(hours * 3600), gpus=gpus, epoch_s=max(60, round(hours * 100)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record = write_history(folder / "first/history.sqlite", run)
        short = replace(run, seconds=min(run.seconds, 3600), seed=2, name="second")
        write_history(folder / "second/history.sqlite", short)
        print(
            f"{machine()}; {hours:.2g} h at 1 Hz, {gpus} GPUs; record {record.stat().st_size / 1e6:.1f} MB\n"
        )
        print(table(["command", "elapsed", "CPU", "written"], _rows(folder, turns)))


def _rows(folder: Path, turns: int) -> list[list[str]]:
    first, second = str(folder / "first"), str(folder / "second")
    page = folder / "page.html"
    commands = (
        ("pylon --version, to compare", ["--version"], None),
        ("report RUN", ["report", first], None),
        ("report RUN --json", ["report", first, "--json"], None),
        ("report RUN --html FILE", ["report", first, "--html", str(page)], page),
        ("report A B --html FILE", ["report", first, second, "--html", f"{page}.2"], Path(f"{page}.2")),
    )
    rows = []
    for name, words, written in commands:
        elapsed_s, cpu_s = min(_timed(words, folder) for _ in range(turns))
        size = "" if written is None else f"{written.stat().st_size / 1e6:.2f} MB"
        rows.append([name, f"{elapsed_s:.2f} s", f"{cpu_s:.2f} s", size])
    opened_s = _opened(page, turns)
    rows.append(["the page in Chromium", "not measured" if opened_s is None else f"{opened_s:.2f} s", "", ""])
    return rows


def _timed(words: Sequence[str], folder: Path) -> tuple[float, float]:
    """Elapsed and CPU time of a command."""
    before, begun = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "pylon", *words]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder.parent, check=True)
    elapsed_s, after = time.perf_counter() - begun, os.times()
    children = after.children_user + after.children_system - before.children_user - before.children_system
    return elapsed_s, children


def _opened(page: Path, turns: int) -> float | None:
    """Seconds until the first frame; None without a browser."""
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        return None
    if program is None:
        return None
    frame = "() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))"
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        times = []
        for _ in range(turns):
            opened = browser.new_context(offline=True).new_page()
            begun = time.perf_counter()
            opened.goto(page.as_uri())
            opened.evaluate(frame)
            times.append(time.perf_counter() - begun)
        browser.close()
    return min(times)


if __name__ == "__main__":
    main()
