"""One supervised process: started, watched by its heartbeat, ended step by step without waiting for it."""

import enum
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.context import ForkContext

from pylon.monitor.limits import ResourceLimits
from pylon.monitor.process.backoff import Backoff
from pylon.monitor.process.heartbeat import Heartbeat
from pylon.monitor.process.resources import LimitWatch
from pylon.monitor.process.stop_event import StopEvent, stop_event
from pylon.monitor.status.failure import Failure, ProcessFailure
from pylon.monitor.status.health import MonitorHealth
from pylon.monitor.status.states import MonitorState, moved
from pylon.threads import started

# Time between asking, SIGTERM, SIGKILL and giving up on a process that does not end.
_STEP_S = 0.5

Start = Callable[[StopEvent, Heartbeat], None]


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
        limits: what the process may use.
    """

    def __init__(self, name: str, context: ForkContext, start: Start, limits: ResourceLimits) -> None:
        self.name = name
        self.state = MonitorState.RESTARTING
        self.restarts = -1
        self.error: Failure | None = None
        self.heartbeat = Heartbeat()
        self._limits = limits
        self._limit_watch = LimitWatch(limits, 0.0)
        self._context = context
        self._start = start
        self._process: multiprocessing.process.BaseProcess | None = None
        self._event: StopEvent | None = None
        self._backoff = Backoff()
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

    def report(self) -> MonitorHealth:
        """State for the health report."""
        overdue = self.state in {MonitorState.UNREACHABLE, MonitorState.FAILED}
        alive_s = self.heartbeat.alive_s or self._started_s
        return MonitorHealth(
            self.state,
            self.pid,
            max(self.restarts, 0),
            self.error,
            alive_s if overdue else None,
            self.heartbeat.slowdown,
            self._limit_watch.reason,
            slowed_by=self._limit_watch.limit,
        )

    def overdue(self, now: float, limit_s: float) -> bool:
        """Whether the process was started longer ago than `limit_s`."""
        return now - self._started_s > limit_s

    def move(self, state: MonitorState) -> None:
        """Go to `state`."""
        self.state = moved(self.state, state)

    def step(self, now: float, *, may_start: bool = True) -> None:
        """Notice an end, go on ending, or start if that is due and allowed. Does not wait."""
        if self._process is not None and not self._process.is_alive():
            self._note_end(now)
        if self._process is None:
            if may_start and self.state is MonitorState.RESTARTING and now >= self._due_s:
                self._launch(now)
        elif self._patience_is_over(now):
            self._end_harder(now)

    def restrain(self, now: float) -> str | None:
        """Hold the process to its limits; why it must be replaced, None where it need not be."""
        if not self.running or self.pid is None:
            return None
        return self._limit_watch.look(self.pid, self.heartbeat, now)

    def end(self, now: float, kind: ProcessFailure, text: str) -> None:
        """Begin to end the process, for the reason given; it is started again after a pause.

        It is asked by the flag in its heartbeat alone: the Event may be what it hangs on, and a
        thread to set it in must not exist while the supervisor still forks.
        """
        if not self.running:
            return
        self.error = Failure.of_process(kind, text)
        self.move(MonitorState.UNREACHABLE)
        self._ending, self._ending_since_s = Ending.ASKED, now
        self.heartbeat.ask_to_end()

    def ask_to_stop(self) -> threading.Thread | None:
        """Set the Event, for the last time, and return the thread that does so, if there is one.

        `Event.set` blocks without a limit if a process died while waiting on it: so it runs in a thread
        that may be left alone. The flag in the heartbeat has no lock and means the same.
        """
        if self._process is None or self._event is None:
            return None
        self.heartbeat.ask_to_end()
        setter = threading.Thread(target=self._event.set, daemon=True)
        return setter if started(setter) else None

    def new_event(self) -> StopEvent:
        """The Event of one life. Raises OSError if there is no descriptor to be had."""
        return stop_event(self._context)

    def start_now(self) -> None:
        """Start at once, whatever pause is left, if there is no process."""
        self._due_s = 0.0
        self.step(time.monotonic())

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is a process."""
        if self._process is not None and self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, number)

    def _launch(self, now: float) -> None:
        self.move(MonitorState.STARTING)
        self.restarts += 1
        self._ending = Ending.NOT
        self._started_s = now
        self._limit_watch = LimitWatch(self._limits, now)
        try:
            self.heartbeat = Heartbeat()
            self._event = self.new_event()
            process = self._context.Process(
                target=self._start, args=(self._event, self.heartbeat), name=self.name, daemon=True
            )
            process.start()
        except OSError as error:
            # No process or descriptor to be had now; there may be one after the pause.
            self._pause(now, Failure.of_process(ProcessFailure.NOT_STARTED, str(error)))
            return
        self._process = process

    def _note_end(self, now: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        last_word = self.heartbeat.last_word
        reason = Failure(*last_word) if last_word else _how_it_ended(process.exitcode)
        process.close()
        self._pause(now, reason if self._ending is Ending.NOT else self.error)

    def _pause(self, now: float, reason: Failure | None) -> None:
        self.error = reason
        self._ending = Ending.NOT
        self._due_s = now + self._backoff.after(now - self._started_s)
        if self.state is not MonitorState.STOPPING:
            self.move(MonitorState.RESTARTING)

    def _patience_is_over(self, now: float) -> bool:
        # While everything is stopped, `stop_all` sets the pace.
        ending = self._ending is not Ending.NOT and self.state is not MonitorState.STOPPING
        return ending and now - self._ending_since_s >= _STEP_S

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
            self.error = Failure.of_process(
                ProcessFailure.UNKILLABLE, f"process {self.pid} cannot be killed ({self.error})"
            )
            self.move(MonitorState.FAILED)


def _how_it_ended(exit_code: int | None) -> Failure:
    how = f"with exit code {exit_code}"
    if exit_code is not None and exit_code < 0:
        try:
            how = f"by {signal.Signals(-exit_code).name}"
        except ValueError:
            how = f"by signal {-exit_code}"
    return Failure.of_process(ProcessFailure.ENDED, how)


def stop_all(children: list[Child], budget_s: float) -> None:
    """End `children` together: ask, wait, SIGTERM, wait, SIGKILL, wait, within `budget_s`."""
    begun_s = time.monotonic()
    for child in children:
        child.move(MonitorState.STOPPING)
    # Started together, so that one that blocks costs the others no time.
    for child in children:
        child.ask_to_stop()
    for number, share in ((signal.SIGTERM, 0.5), (signal.SIGKILL, 0.8)):
        if _all_ended(children, begun_s + budget_s * share):
            return
        for child in children:
            child.send(number)
    _all_ended(children, begun_s + budget_s)


def _all_ended(children: list[Child], until_s: float) -> bool:
    while any(child.pid is not None for child in children):
        for child in children:
            child.step(time.monotonic())
        if time.monotonic() >= until_s:
            return False
        time.sleep(0.005)
    return True
