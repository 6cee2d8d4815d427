"""CPU time that the monitors take on this driver: in the training process, and in their own."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from benchmarks.monitors.processes import cpu_s
from pylon.monitor import SystemMonitor
from tests.gpu.nvml import next_reading
from tests.gpu.outcomes import Report, Setting

# Of one core. A real driver takes longer than a stand-in, and a server more than a desktop with one GPU.
MOST_IN_TRAINING_S = 0.3
MOST_IN_MONITORS_S = 6.0
_INTERVAL_S = 1.0
_LOOKS_PER_S = 10
_WINDOWS = 2


@dataclass(frozen=True)
class Spent:
    """CPU seconds in a minute: of this process, and of its children."""

    here_s: float
    children_s: float


def run(setting: Setting) -> Report:
    """The part: windows without a monitor and with one, in turns."""
    window_s = 2.0 if setting.short else 5.0
    without: list[Spent] = []
    watched: list[Spent] = []
    gpus = 0
    for _ in range(_WINDOWS):
        without.append(_spent(window_s, lambda: None))
        with SystemMonitor(interval_s=_INTERVAL_S) as monitor:
            gpus = len(next_reading(monitor, time.monotonic(), slow=False).gpus)
            watched.append(_spent(window_s, monitor.latest))
    return judged(without, watched, gpus)


def judged(without: list[Spent], watched: list[Spent], gpus: int) -> Report:
    """What the windows mean."""
    report = Report()
    here_s = min(one.here_s for one in watched) - min(one.here_s for one in without)
    monitors_s = min(one.children_s for one in watched)
    report.expect(
        here_s <= MOST_IN_TRAINING_S,
        f"training process: {here_s:.2f} s of CPU time a minute, expected at most {MOST_IN_TRAINING_S}",
    )
    report.expect(
        monitors_s <= MOST_IN_MONITORS_S,
        f"monitor processes: {monitors_s:.2f} s of CPU time a minute, expected at most {MOST_IN_MONITORS_S}",
    )
    report.expect(monitors_s > 0, "monitor processes: no CPU time, so nothing was measured")
    report.figure = (
        f"CPU time per minute: {here_s:.3f} s in the training process, "
        f"{monitors_s:.3f} s in the monitors' own; {gpus} GPU(s), 1 Hz"
    )
    report.details = {
        "without": [vars(one) for one in without], "watched": [vars(one) for one in watched], "gpus": gpus
    }  # fmt: skip
    return report


def _spent(window_s: float, look: Callable[[], object]) -> Spent:
    """A window in which this process does nothing but look, as a training loop does."""
    children_s, here_s, begun_s = _children_s(), time.process_time(), time.monotonic()
    while time.monotonic() - begun_s < window_s:
        look()
        time.sleep(1 / _LOOKS_PER_S)
    per_minute = 60 / (time.monotonic() - begun_s)
    spent_s = time.process_time() - here_s
    return Spent(spent_s * per_minute, (_children_s() - children_s) * per_minute)


def _children_s() -> float:
    return sum(cpu_s(child.pid) for child in psutil.Process().children(recursive=True))
