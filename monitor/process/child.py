"""One supervised process: started, watched by its heartbeat, ended step by step without waiting for it."""

import enum
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.context import ForkContext
from typing import Any

from monitor.process.backoff import pause_s
from monitor.process.messages import ProcessReport
from monitor.process.states import MonitorState, moved
from monitor.process.worker import ALIVE_S, ASKED_TO_END, HEARTBEAT_SLOTS

# Time between asking, SIGTERM, SIGKILL and giving up on a process that does not end.
_STEP_S = 0.5
_HEALTHY_AFTER_S = 60.0
_SET_WITHIN_S = 0.2

Start = Callable[[Any, Any], None]


class Ending(enum.IntEnum):
    """How far the ending of a process has come; each step is tried once."""

    NOT = 0
    ASKED = 1
    TERMINATED = 2
    KILLED = 3
    GIVEN_UP = 4


class Child:
    """A process with one Event and one heartbeat per life; neither is used again after it.

    Args:
        name: for the process list and the log.
        context: how processes are started.
        start: called in the child with its Event and heartbeat.
    """

    def __init__(self, name: str, context: ForkContext, start: Start) -> None:
        self.name = name
        self.state = MonitorState.RESTARTING
        self.restarts = -1
        self.error: str | None = None
        self.heartbeat: Any = context.RawArray("d", HEARTBEAT_SLOTS)
        self._context = context
        self._start = start
        self._process: multiprocessing.process.BaseProcess | None = None
        self._event: Any = None
        self._random = random.Random()
        self._failures = 0
        self._due_s = 0.0
        self._started_s = 0.0
        self._ending = Ending.NOT
        self._ending_since_s = 0.0

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a process, and it is not being ended."""
        return self._process is not None and self._ending is Ending.NOT

    @property
    def sentinel(self) -> int | None:
        """What becomes readable when the process ends."""
        return None if self._process is None else self._process.sentinel

    def report(self) -> ProcessReport:
        """State for the health report."""
        overdue = self.state in {MonitorState.UNREACHABLE, MonitorState.FAILED}
        alive_s = self.heartbeat[ALIVE_S] or self._started_s
        return ProcessReport(
            self.state, self.pid, max(self.restarts, 0), self.error, alive_s if overdue else None
        )

    def overdue(self, now: float, limit_s: float) -> bool:
        """Whether the process was started longer ago than `limit_s`."""
        return now - self._started_s > limit_s

    def move(self, state: MonitorState) -> None:
        """Go to `state`."""
        self.state = moved(self.state, state)

    def step(self, now: float) -> None:
        """Start, notice an end, or go on ending: whatever is due. Does not wait."""
        if self._process is not None and not self._process.is_alive():
            self._note_end(now)
        if self._process is None:
            if self.state is MonitorState.RESTARTING and now >= self._due_s:
                self._launch(now)
        elif self._ending is not Ending.NOT and now - self._ending_since_s >= _STEP_S:
            self._end_harder(now)

    def end(self, now: float, reason: str) -> None:
        """Begin to end the process because of `reason`; it is started again after a pause."""
        if not self.running:
            return
        self.error = reason
        self.move(MonitorState.UNREACHABLE)
        self._ending, self._ending_since_s = Ending.ASKED, now
        self.heartbeat[ASKED_TO_END] = 1.0

    def ask_to_stop(self) -> None:
        """Set the Event, for the last time.

        `Event.set` blocks for ever when a process died while waiting on it: so it runs in a thread
        that is left alone after a moment. The flag in the heartbeat has no lock and says the same.
        """
        if self._process is None:
            return
        self.heartbeat[ASKED_TO_END] = 1.0
        setter = threading.Thread(target=self._event.set, daemon=True)
        setter.start()
        setter.join(_SET_WITHIN_S)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is a process."""
        if self._process is not None and self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, number)

    def _launch(self, now: float) -> None:
        self.move(MonitorState.STARTING)
        self.restarts += 1
        self.heartbeat = self._context.RawArray("d", HEARTBEAT_SLOTS)
        self._event = self._context.Event()
        self._ending = Ending.NOT
        self._started_s = now
        self._process = self._context.Process(
            target=self._start, args=(self._event, self.heartbeat), name=self.name, daemon=True
        )
        self._process.start()

    def _note_end(self, now: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if self._ending is Ending.NOT:
            self.error = _how_it_ended(process.exitcode)
        process.close()
        self._ending = Ending.NOT
        self._failures = 1 if now - self._started_s > _HEALTHY_AFTER_S else self._failures + 1
        self._due_s = now + pause_s(self._failures, self._random)
        if self.state is not MonitorState.STOPPING:
            self.move(MonitorState.RESTARTING)

    def _end_harder(self, now: float) -> None:
        self._ending_since_s = now
        if self._ending is Ending.GIVEN_UP:
            return
        self._ending = Ending(self._ending + 1)
        if self._ending is Ending.TERMINATED:
            self.send(signal.SIGTERM)
        elif self._ending is Ending.KILLED:
            self.send(signal.SIGKILL)
        else:
            # It sits in the kernel. A second process for the same driver would only join it.
            self.error = f"process {self.pid} cannot be killed ({self.error})"
            self.move(MonitorState.FAILED)


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        try:
            return f"ended by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"ended by signal {-exit_code}"
    return f"ended with exit code {exit_code}"


def wait_until_ended(children: list[Child], until_s: float) -> bool:
    """Wait until all have ended or the time is over; whether they have."""
    while any(child.pid is not None for child in children):
        for child in children:
            child.step(time.monotonic())
        if time.monotonic() >= until_s:
            return False
        time.sleep(0.005)
    return True
