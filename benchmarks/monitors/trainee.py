"""A training process that holds one subject and follows commands, a line each, on standard input.

    python -m benchmarks.monitors.trainee SUBJECT

Each command is answered with a JSON line on standard output, see `Commands`. Between commands the
process does nothing, so that its CPU time is the subject's; after `train` it steps until the next one.
"""

import collections
import contextlib
import importlib
import json
import math
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.monitors.processes import rss_bytes
from benchmarks.monitors.subjects import SUBJECTS, Subject

_FIRST_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.002
# Looks kept for 'around a refresh': they take about 10 ms before it was seen, and as long after it.
_AROUND = 20_000
_SLOWEST_COUNTED_NS = 200_000
_MATRIX, _PRODUCTS_PER_STEP = 192, 6
# In `train` alone: as if it waited for a GPU, so that trainings side by side do not starve each other.
_WAIT_PER_STEP_S = 0.005


class EndOfTrainingError(Exception):
    """What ends a training that fails."""


class Commands:
    """The commands, by method name.

    Args:
        subject: what is held.
        lines: commands come from here.
    """

    def __init__(self, subject: Subject, lines: "Lines") -> None:
        self._subject = subject
        self._lines = lines
        self._weights = np.random.default_rng(0).standard_normal((_MATRIX, _MATRIX))
        self._training = False
        self._steps, self._longest_s = 0, 0.0
        self._started_s = 0.0

    def load(self) -> dict[str, Any]:
        """Import the subject's library."""
        before_bytes, begun_s = rss_bytes(os.getpid()), time.perf_counter()
        self._subject.load()
        return {"import_s": time.perf_counter() - begun_s, "rss_before_bytes": before_bytes}

    def prepare(self) -> dict[str, Any]:
        """Make what former runs would have made."""
        self._subject.prepare()
        return {}

    def torch(self) -> dict[str, Any]:
        """Import torch, as a training process has: what a monitor adds to that is what counts."""
        try:
            return {"version": importlib.import_module("torch").__version__}
        except ImportError:
            return {"version": None}

    def start(self) -> dict[str, Any]:
        """Start the subject."""
        self._started_s = time.perf_counter()
        self._subject.start()
        return {"start_s": time.perf_counter() - self._started_s}

    def first(self) -> dict[str, Any]:
        """Wait for the first values."""
        while not self._subject.sampled():
            if time.perf_counter() - self._started_s > _FIRST_WITHIN_S:
                return {"first_s": None}
            time.sleep(_LOOK_EVERY_S)
        return {"first_s": time.perf_counter() - self._started_s}

    def manager(self) -> dict[str, Any]:
        """Process id of the Manager."""
        return {"pid": self._subject.manager_pid()}

    def rss(self) -> dict[str, Any]:
        """Resident memory of this process."""
        return {"rss_bytes": rss_bytes(os.getpid())}

    def steps(self, seconds: str) -> dict[str, Any]:
        """Train for so long; the mean time of a step."""
        begun_s, count = time.perf_counter(), 0
        while (spent_s := time.perf_counter() - begun_s) < float(seconds):
            self._step()
            count += 1
        return {"step_s": spent_s / count}

    def look(self, seconds: str) -> dict[str, Any]:
        """Call `latest` again and again."""
        return timed_looks(self._subject.latest, float(seconds))

    def train(self) -> dict[str, Any]:
        """Train until the next command."""
        self._training, self._steps, self._longest_s = True, 0, 0.0
        return {}

    def report(self) -> dict[str, Any]:
        """Steps since `train` or the last `report`, and the longest of them."""
        report = {"steps": self._steps, "longest_s": self._longest_s}
        self._steps, self._longest_s = 0, 0.0
        return report

    def finish(self) -> dict[str, Any]:
        """End as one should: the last step is over, then stop the subject, then leave."""
        return {"last_step_s": time.monotonic()}

    # Answered before they are done, as nothing can be answered after.
    leave = fail = finish

    def run(self, answer: Callable[[dict[str, Any]], None]) -> None:
        """Follow commands until one of them is the end, or the sender is gone."""
        while True:
            line = self._lines.next(wait=not self._training)
            if line is None:
                self._timed_step()
                continue
            if not line:
                return
            name, *arguments = line.split()
            if name == "report":
                answer(self.report())
                continue
            self._training = False
            answer(getattr(self, name)(*arguments))
            if name == "finish":
                self._subject.stop()
            if name == "fail":
                raise EndOfTrainingError
            if name in {"finish", "leave"}:
                return
            if name == "train":
                self._training = True

    def _timed_step(self) -> None:
        begun_s = time.perf_counter()
        self._step()
        self._steps += 1
        self._longest_s = max(self._longest_s, time.perf_counter() - begun_s)
        time.sleep(_WAIT_PER_STEP_S)

    def _step(self) -> None:
        if self._subject.readable:
            self._subject.latest()
        for _ in range(_PRODUCTS_PER_STEP):
            self._weights = np.tanh(self._weights @ self._weights)


class Lines:
    """Lines from a descriptor, with or without waiting for them."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unread = b""

    def next(self, *, wait: bool) -> str | None:
        """The next line; '' at the end; None where there is none yet and it shall not be waited for."""
        while b"\n" not in self._unread:
            if not wait and not select.select([self._descriptor], [], [], 0)[0]:
                return None
            piece = os.read(self._descriptor, 4096)
            if not piece:
                return ""
            self._unread += piece
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode()


def timed_looks(look: Callable[[], object], seconds: float) -> dict[str, Any]:
    """Durations of `look`, with what reading the clock takes: all, and those around a change of value."""
    clock = time.perf_counter_ns
    every, around = Durations(), Durations()
    recent: collections.deque[int] = collections.deque(maxlen=_AROUND)
    until_ns = clock() + int(seconds * 1e9)
    former, after, changes = look(), 0, 0
    while True:
        begun_ns = clock()
        value = look()
        now_ns = clock()
        taken_ns = now_ns - begun_ns
        every.add(taken_ns)
        if value is not former:
            former, after, changes = value, _AROUND, changes + 1
            for one in recent:
                around.add(one)
            recent.clear()
        if after:
            after -= 1
            around.add(taken_ns)
        else:
            recent.append(taken_ns)
        if now_ns > until_ns:
            return {"all": every.summary(), "around": around.summary(), "changes": changes}


class Durations:
    """Nanoseconds, counted each, so that millions of them take no memory to speak of."""

    def __init__(self) -> None:
        self._counts = [0] * (_SLOWEST_COUNTED_NS + 1)
        self._slow: list[int] = []
        self._number = 0

    def add(self, duration_ns: int) -> None:
        """Count one."""
        self._number += 1
        if duration_ns <= _SLOWEST_COUNTED_NS:
            self._counts[duration_ns] += 1
        else:
            self._slow.append(duration_ns)

    def summary(self) -> dict[str, float] | None:
        """Median, 99.9 % quantile and longest; None where there were none."""
        if not self._number:
            return None
        return {
            "median_ns": self._quantile(0.5),
            "p999_ns": self._quantile(0.999),
            "longest_ns": max(self._slow, default=self._quantile(1.0)),
        }

    def _quantile(self, share: float) -> int:
        wanted, seen = share * self._number, 0
        for duration_ns, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return duration_ns
        return sorted(self._slow)[max(math.ceil(wanted) - seen - 1, 0)]


def main() -> None:
    """Hold the subject and follow commands."""
    # What libraries print shall not be taken for answers.
    answers = os.dup(1)
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(answers, json.dumps(content).encode() + b"\n")

    Commands(SUBJECTS[sys.argv[1]].make(), Lines(0)).run(answer)


if __name__ == "__main__":
    main()
