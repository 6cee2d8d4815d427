"""The screen in a real terminal: CPU share, bytes, time to the first picture and to the answer to a key."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pexpect
import psutil

_REPOSITORY = Path(__file__).resolve().parents[2]
_SERVERS, _GPUS, _INTERVAL_S = 100, 8, 1.0
_SIZE = (70, 250)
_KEYS = 40
_SECONDS = 20.0
HEADS = ("`pylon watch`", "measured", "aim")
_WITHIN_S = 60


class Figures(NamedTuple):
    """What was measured.

    Attributes:
        first_s: from the start of the process to the first servers on the screen.
        import_s: of that, what Python takes to start and to import textual alone.
        shares: percent of a core, and bytes a second to the terminal, by what is shown.
        keys_s: from a key to the changed line, each.
    """

    first_s: float
    import_s: float
    shares: dict[str, tuple[float, float]]
    keys_s: Sequence[float]


def measure(seconds: float, servers: int = _SERVERS, gpus: int = _GPUS, keys: int = _KEYS) -> Figures:
    """Run the screen once.

    Args:
        seconds: of each list.
        servers, gpus: how many servers, and GPUs of each.
        keys: how many keys are pressed.
    """
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-c", "import textual.app, textual.widget"], check=True)
    import_s = time.monotonic() - began_s
    began_s = time.monotonic()
    terminal = _start(servers, gpus)
    terminal.expect("dgx000")
    first_s = time.monotonic() - began_s
    process = psutil.Process(terminal.pid)
    time.sleep(2)
    shares = {}
    for key, name in (
        ("1", "servers"),
        ("2", "GPUs"),
        ("/util>50\r", "GPUs, filtered"),
        ("s" * 5, "and sorted"),
    ):
        terminal.send(key)
        _drain(terminal, 2.0)
        shares[name] = _share(terminal, process, seconds)
    terminal.send("\x1b")
    time.sleep(0.3)
    terminal.send("1")
    _drain(terminal, 1.5)
    keys_s = [_key(terminal, number) for number in range(keys)]
    terminal.send("q")
    terminal.expect(pexpect.EOF)
    terminal.close()
    return Figures(first_s, import_s, shares, keys_s)


def _start(servers: int, gpus: int) -> pexpect.spawn:
    command = ["-m", "benchmarks.views.screen", str(servers), str(gpus), str(_INTERVAL_S)]
    environment = os.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    found = pexpect.spawn(
        sys.executable, command, cwd=str(_REPOSITORY), env=environment, dimensions=_SIZE, timeout=_WITHIN_S
    )
    found.delaybeforesend = None
    return found


def _drain(terminal: pexpect.spawn, seconds: float) -> int:
    """Read what is written for so long; returns how many bytes that were."""
    until, found = time.monotonic() + seconds, 0
    while (left_s := until - time.monotonic()) > 0:
        try:
            found += len(terminal.read_nonblocking(65536, timeout=left_s))
        except pexpect.TIMEOUT:
            break
    return found


def _share(terminal: pexpect.spawn, process: psutil.Process, seconds: float) -> tuple[float, float]:
    before, began_s = process.cpu_times(), time.monotonic()
    written = _drain(terminal, seconds)
    after, took_s = process.cpu_times(), time.monotonic() - began_s
    used_s = after.user + after.system - before.user - before.system
    return 100 * used_s / took_s, written / took_s


def _key(terminal: pexpect.spawn, number: int) -> float:
    """Down: the mark of the cursor is in the next line."""
    time.sleep(0.13)
    _drain(terminal, 0.01)
    began_s = time.monotonic()
    terminal.send("j")
    terminal.expect(f"> dgx{number + 1:03d}|>!dgx{number + 1:03d}")
    return time.monotonic() - began_s


def rows(*, quick: bool) -> list[list[str]]:
    """A row for each figure, with its aim."""
    found = measure(1.0, servers=2, gpus=1, keys=1) if quick else measure(_SECONDS)
    keys_ms = sorted(1000 * one for one in found.keys_s)
    first = f"{found.first_s:.2f} s (Python and textual alone {found.import_s:.2f} s)"
    shares = [
        [f"CPU, {name}", f"{share:.1f} % of a core, {bytes_per_s / 1024:.1f} KiB/s written", "10 %"]
        for name, (share, bytes_per_s) in found.shares.items()
    ]
    keys = f"{statistics.median(keys_ms):.0f} ms in the middle, {keys_ms[-1]:.0f} ms at most"
    return [["first servers on the screen", first, "1 s"], *shares, ["a key", keys, "100 ms"]]
