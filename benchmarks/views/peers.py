"""One machine on a whole terminal: CPU time of `pylon watch` and of nvitop, all their processes, in turns.

The GPUs are those of a stand-in for the driver. nvitop is left out where it is not on the PATH.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pexpect
import psutil

from tests.monitor.nvml_stand_in import StandIn

HEADS = ("8 GPUs, a picture a second, 160 x 50", "CPU s a minute", "of that, the screen's own process")
_REPOSITORY = Path(__file__).resolve().parents[2]
_GPUS, _SIZE = 8, (50, 160)
_SETTLE_S, _TURNS = 6.0, 3


def rows(*, quick: bool) -> list[list[str]]:
    """A row for each program that is there."""
    seconds = 2.0 if quick else 30.0
    commands = {"pylon watch": [sys.executable, "-m", "pylon", "watch", "--interval-s", "1"]}
    if (nvitop := shutil.which("nvitop")) is not None:
        commands["nvitop --monitor full --interval 1"] = [nvitop, "--monitor", "full", "--interval", "1"]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory(prefix="pylon-") as folder:
        driver = StandIn(Path(folder))
        driver.behave(f"gpus {_GPUS}")
        for _ in range(1 if quick else _TURNS):
            for name, command in commands.items():
                found[name].append(_measured(command, driver.environment, seconds))
    return [[name, *_cells(turns)] for name, turns in found.items()]


def _cells(turns: Sequence[tuple[float, float]]) -> list[str]:
    return [f"{statistics.median(column):.2f}" for column in zip(*turns, strict=True)]


def _measured(command: Sequence[str], environment: dict[str, str], seconds: float) -> tuple[float, float]:
    """CPU seconds a minute of a program on a terminal: of all its processes, and of its first."""
    terminal = pexpect.spawn(
        command[0],
        list(command[1:]),
        cwd=str(_REPOSITORY),
        env=os.environ | environment | {"TERM": "xterm-256color", "LANG": "C.UTF-8"},
        dimensions=_SIZE,
        timeout=60,
    )
    try:
        _drain(terminal, _SETTLE_S)
        before, began_s = _used(terminal.pid), time.monotonic()
        _drain(terminal, seconds)
        after, took_s = _used(terminal.pid), time.monotonic() - began_s
        terminal.send("q")
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)
    return (after[0] - before[0]) / took_s * 60, (after[1] - before[1]) / took_s * 60


def _used(pid: int) -> tuple[float, float]:
    """CPU seconds so far: of a process with all below it, and its own."""
    first = psutil.Process(pid)
    times = [one.cpu_times() for one in [first, *first.children(recursive=True)]]
    each = [one.user + one.system for one in times]
    return sum(each), each[0]


def _drain(terminal: pexpect.spawn, seconds: float) -> None:
    """Read what is written for so long."""
    until = time.monotonic() + seconds
    while (left_s := until - time.monotonic()) > 0:
        try:
            terminal.read_nonblocking(65536, timeout=left_s)
        except pexpect.TIMEOUT:
            return
