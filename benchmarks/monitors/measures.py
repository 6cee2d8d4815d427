"""Measurements of one training process, or of several side by side."""

import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.monitors.processes import Memory, cpu_s, memory, name_of
from benchmarks.monitors.subjects import SUBJECTS
from benchmarks.monitors.trainees import SilentError, Trainee

EXIT_WITHIN_S = 10.0
# A library's first readings cost more than the later ones.
_SETTLE_S = 3.0
_WARM_UP_S = 0.3
_BLOCK_S = 0.5
# Two refreshes after the first values: what they need is part of the growth.
_READINGS_S = 2.0
# Longer than an interval: the reading that hangs has begun.
_HANG_BEGINS_S = 1.5
HANG = "hang nvmlDeviceGetUtilizationRates"


@dataclass(frozen=True, slots=True)
class CPUTime:
    """CPU seconds in a minute.

    Attributes:
        trainee_s: of the training process, which itself does nothing meanwhile.
        monitors_s: of each other process, by name.
    """

    trainee_s: float
    monitors_s: dict[str, float]


@dataclass(slots=True)
class SideBySide:
    """Subjects that ran at the same time, by name.

    Attributes:
        cpu_time: one entry per window of time.
        step_ratio: time of a step over its time without a monitor, one entry per round of turns.
    """

    cpu_time: dict[str, list[CPUTime]]
    step_ratio: dict[str, list[float]]


@dataclass(slots=True)
class Life:
    """One training process from start to end.

    Attributes:
        start_s, first_s: `start` to its return, and to first values.
        looks: summaries of `latest`, by condition.
        exit_s: from the last step to the end of the process; None where it did not end.
    """

    start_s: float = 0.0
    first_s: float | None = None
    looks: dict[str, dict[str, Any]] = field(default_factory=dict)
    exit_s: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryTaken:
    """What a subject adds to a training process that has imported torch, as a real one has.

    Attributes:
        torch: its version; None where it is not installed.
        growth_bytes: of the training process's resident memory, since before the subject's import.
        monitors: of each other process.
    """

    torch: str | None
    growth_bytes: int
    monitors: list[Memory]

    @property
    def pss_bytes(self) -> int:
        """Of all monitor processes together."""
        return sum(process.pss_bytes for process in self.monitors)

    @property
    def largest_uss_bytes(self) -> int:
        """Of the monitor process that has most."""
        return max((process.uss_bytes for process in self.monitors), default=0)


def side_by_side(subjects: list[str], folder: Path, windows: int, seconds: float, rounds: int) -> SideBySide:
    """CPU time of all subjects in the same windows of time, then steps in turns.

    None of them is busy in a window, so none is in another's way. In the turns each shares the
    machine with the others' monitors; what differs is the monitor in its own process.
    """
    with contextlib.ExitStack() as stack:
        trainees = [stack.enter_context(Trainee(subject, folder)) for subject in subjects]
        for trainee in trainees:
            trainee.begin()
            trainee.ask(f"steps {_WARM_UP_S}")
        time.sleep(_SETTLE_S)
        cpu: dict[str, list[CPUTime]] = {subject: [] for subject in subjects}
        for _ in range(windows):
            for subject, spent in _window(trainees, seconds).items():
                cpu[subject].append(spent)
        ratio: dict[str, list[float]] = {subject: [] for subject in subjects}
        for _ in range(rounds):
            # By chance, so that no subject always comes after the same one.
            order = random.sample(trainees, len(trainees))
            step_s = {trainee.subject: trainee.ask(f"steps {_BLOCK_S}")["step_s"] for trainee in order}
            for subject, taken_s in step_s.items():
                ratio[subject].append(taken_s / step_s["none"])
        for trainee in trainees:
            trainee.ask("finish")
            trainee.end(EXIT_WITHIN_S)
    return SideBySide(cpu, ratio)


def _window(trainees: list[Trainee], seconds: float) -> dict[str, CPUTime]:
    before = {trainee.subject: _spent(trainee) for trainee in trainees}
    begun_s = time.monotonic()
    time.sleep(seconds)
    after = {trainee.subject: _spent(trainee) for trainee in trainees}
    per_minute = 60 / (time.monotonic() - begun_s)
    windows = {}
    for trainee in trainees:
        earlier = before[trainee.subject]
        monitors: dict[str, float] = {}
        for pid, spent_s in after[trainee.subject].items():
            # A process that has come meanwhile has spent all of its time in this window.
            added_s = (spent_s - earlier.get(pid, 0.0)) * per_minute
            name = "trainee" if pid == trainee.pid else name_of(pid)
            monitors[name] = monitors.get(name, 0.0) + added_s
        windows[trainee.subject] = CPUTime(monitors.pop("trainee"), monitors)
    return windows


def _spent(trainee: Trainee) -> dict[int, float]:
    return {pid: cpu_s(pid) for pid in (trainee.pid, *trainee.left_over())}


def life(subject: str, folder: Path, look_s: float) -> Life:
    """Start to end with a driver that is well, with looks in between."""
    seen = Life()
    with Trainee(subject, folder) as trainee:
        trainee.ask("load")
        seen.start_s = trainee.ask("start")["start_s"]
        seen.first_s = trainee.ask("first")["first_s"]
        if SUBJECTS[subject].make.readable:
            seen.looks["driver well"] = trainee.ask(f"look {look_s}")
        manager = trainee.ask("manager")["pid"]
        if manager is not None:
            os.kill(manager, signal.SIGSTOP)
            seen.looks["Manager stopped"] = trainee.ask(f"look {look_s}")
            os.kill(manager, signal.SIGCONT)
        seen.exit_s = _exit_s(trainee)
    return seen


def memory_taken(subject: str, folder: Path) -> MemoryTaken:
    """Memory after some readings. The end is not waited for: torch alone takes half a second to end."""
    with Trainee(subject, folder) as trainee:
        version = trainee.ask("torch")["version"]
        trainee.ask(f"steps {_WARM_UP_S}")
        before_bytes = trainee.ask("load")["rss_before_bytes"]
        trainee.ask("start")
        trainee.ask("first")
        trainee.ask(f"steps {_READINGS_S}")
        growth_bytes = trainee.ask("rss")["rss_bytes"] - before_bytes
        return MemoryTaken(version, growth_bytes, [memory(pid) for pid in trainee.left_over()])


def life_with_hung_driver(subject: str, folder: Path, look_s: float) -> Life:
    """Looks while the driver hangs in a call, and the end then."""
    seen = Life()
    with Trainee(subject, folder) as trainee:
        trainee.begin()
        trainee.driver(HANG)
        time.sleep(_HANG_BEGINS_S)
        if SUBJECTS[subject].make.readable:
            seen.looks["driver hangs"] = trainee.ask(f"look {look_s}")
        seen.exit_s = _exit_s(trainee)
    return seen


def _exit_s(trainee: Trainee) -> float | None:
    # The last step ends when the training process reports it, not when it was asked to end.
    try:
        last_step_s = trainee.ask("finish")["last_step_s"]
    except SilentError:
        return None
    end = trainee.end(EXIT_WITHIN_S)
    return None if end.exit_code is None else float(end.at_s - last_step_s)
