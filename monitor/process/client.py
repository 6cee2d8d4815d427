"""The training process's side: two pipes, one thread that reads them, and attributes to look at."""

import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pylon.monitor.process.backoff import Backoff
from pylon.monitor.process.closed_streams import spare_closed_streams
from pylon.monitor.process.messages import (
    HEALTH_EVERY_S,
    RELEASE,
    RESUME,
    UNCHANGED,
    Companion,
    HealthReport,
    MonitorSpec,
    SupervisorSpec,
)
from pylon.monitor.process.pipes import PipeEnd, Waker
from pylon.monitor.process.reports import HealthLog, LatestReports, Reports
from pylon.monitor.process.supervisor_handle import SupervisorHandle
from pylon.monitor.settings import MonitorSettings
from pylon.monitor.status.failure import Failure, ProcessFailure
from pylon.monitor.status.health import MonitorHealth
from pylon.monitor.status.states import MonitorState, moved

# A live supervisor reports its health every second.
_SILENT_AFTER_S = 3 * HEALTH_EVERY_S
# Without a pipe to be woken by, a stop is noticed when the wait is over.
_LONGEST_WAIT_S = 1.0
_STARTING_WITHIN_S = 15.0
# What `stop` may take beyond `join_timeout_s`: for the supervisor to be killed, and the last of it reaped.
_STOP_GRACE_S = 0.5

logger = logging.getLogger("pylon.monitor")

# Those of this process that were started and not yet stopped, as `atexit` itself keeps its callbacks:
# so that several are ended side by side at the interpreter's exit, within the time of one.
_STARTED: "weakref.WeakSet[MonitorClient]" = weakref.WeakSet()


class MonitorClient:
    """Starts a supervisor, keeps its newest reports, replaces it when it fails, ends it.

    Nothing here waits for the supervisor but its own daemon thread. A copy of this object in another
    process (fork, pickle) is inert: it shows the reports it was copied with and stops nothing.

    Args:
        monitors: what to run.
        settings: see SystemMonitor.
        on_change: called in the thread whenever reports or the state of a process have changed.
        companion: what else the supervisor runs.
    """

    def __init__(
        self,
        monitors: tuple[MonitorSpec, ...],
        settings: MonitorSettings,
        on_change: Callable[[], None],
        companion: Companion | None = None,
    ) -> None:
        self.health = HealthReport()
        self.error: Failure | None = None
        self.supervisor_restarts = 0
        self._monitors = monitors
        self._settings = settings
        self._on_change = on_change
        self._companion = companion
        self._companion_end = None if companion is None else PipeEnd(companion.descriptor)
        self._leave_companion = False
        self._newest = LatestReports()
        self._health_log = HealthLog()
        self._life = MonitorState.STARTING
        self._thread: threading.Thread | None = None
        self._owner_pid: int | None = None
        # Re-entrant: a signal handler's aftermath may call `stop` in the middle of `stop`.
        self._stop_lock = threading.RLock()
        self._stop_asked = False
        self._stopped = False
        self._released = False
        self._waker = Waker()
        self._supervisor: SupervisorHandle | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: the reports, and none of what reaches the processes."""
        return {"health": self.health, "error": self.error, "reports": self.reports}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Be an inert copy."""
        self.__init__((), MonitorSettings(), _nothing)  # type: ignore[misc]
        self.health, self.error, self._newest.reports = state["health"], state["error"], state["reports"]
        self._stopped = True

    @property
    def reports(self) -> Reports:
        """The newest report of each monitor and server."""
        return self._newest.reports

    @property
    def state(self) -> MonitorState:
        """Of the supervisor; STOPPED in a copy that another process holds."""
        if self._stopped or (self._owner_pid is not None and not self._owned):
            return MonitorState.STOPPED
        return MonitorState.STOPPING if self._stop_asked else self._life

    @property
    def supervisor_pid(self) -> int | None:
        """Process id of the supervisor; None while there is none."""
        return None if self._supervisor is None else self._supervisor.pid

    @property
    def _owned(self) -> bool:
        return self._owner_pid == os.getpid()

    def start(self) -> None:
        """Start the supervisor; returns at once. Again after a start, or after a stop: nothing.

        Where the system refuses a pipe or a thread, monitoring has failed and the run goes on.
        """
        if self._thread is not None or self._stopped:
            return
        self._owner_pid = os.getpid()
        logger.addFilter(spare_closed_streams)
        try:
            self._waker.open()
            thread = threading.Thread(target=self._run, name="pylon-monitor", daemon=True)
            thread.start()
        except (OSError, RuntimeError) as error:
            self._waker.close()
            self._give_up(Failure.of_process(ProcessFailure.NOT_STARTED, str(error)))
            return
        self._thread = thread
        _STARTED.add(self)
        atexit.register(self._stop_at_exit)

    def stop(self) -> None:
        """End all processes within `join_timeout_s` + 0.5 s; from any thread, any number of times."""
        if not self._owned or self._stopped:
            return
        limit_s = self._settings.join_timeout_s + _STOP_GRACE_S
        self._ask_to_stop()
        if not self._stop_lock.acquire(timeout=limit_s):
            return
        try:
            thread = self._thread
            if self._stopped:
                return
            if thread is not None:
                thread.join(limit_s)
            if thread is None or not thread.is_alive():
                self._waker.close()
            elif self._supervisor is not None:
                self._supervisor.kill()
            self._stopped = True
            _STARTED.discard(self)
            atexit.unregister(self._stop_at_exit)
        finally:
            self._stop_lock.release()

    def _stop_at_exit(self) -> None:
        # Ctrl-C while the interpreter exits: no further wait is wanted, and a traceback would be no
        # news. The supervisor sees the end of this process and ends all in order.
        with contextlib.suppress(KeyboardInterrupt):
            for client in tuple(_STARTED):
                client._leave_companion = client._companion is not None
            # All are asked before the first is waited for: they end side by side.
            for client in tuple(_STARTED):
                client._ask_to_stop()
            self.stop()

    def release(self, *, released: bool) -> None:
        """Ask the monitors to let go of their devices, or to take them up again; returns at once."""
        self._released = released
        if self._owned:
            self._waker.wake()

    def health_of(self, name: str) -> MonitorHealth:
        """Of the monitor `name`, with its servers. Without a supervisor, its own state counts for all."""
        if self.state in {MonitorState.OK, MonitorState.STARTING} and self.health.processes:
            process = self.health.processes.get(name, MonitorHealth(MonitorState.STARTING))
        else:
            process = MonitorHealth(self.state, None, self.supervisor_restarts, self.error)
        return replace(process, servers=self.reports.get(name, {}))

    def _ask_to_stop(self) -> None:
        if self._owned:
            self._stop_asked = True
            self._waker.wake()

    def _run(self) -> None:
        try:
            self._keep_a_supervisor()
        except Exception as error:
            logger.exception(
                "monitor supervisor: watching it has ended by a fault of its own; the run goes on"
            )
            self._give_up(Failure.of(error))

    def _keep_a_supervisor(self) -> None:
        backoff = Backoff()
        while not self._stop_asked:
            started_s = time.monotonic()
            self._life = moved(self._life, MonitorState.STARTING)
            failure = self._live_with_supervisor()
            if failure is None:
                return
            pause_s = backoff.after(time.monotonic() - started_s)
            self._note_failure(failure)
            until_s = time.monotonic() + pause_s
            while not self._stop_asked and (left_s := until_s - time.monotonic()) > 0:
                self._waker.wait_for((), left_s)

    def _note_failure(self, failure: Failure) -> None:
        if self._stop_asked:
            return
        logger.warning(
            "monitor supervisor: %s; it is started again", failure, extra={"error_kind": failure.kind}
        )
        self.error = failure
        self.supervisor_restarts += 1
        self.health = HealthReport()
        self._life = moved(self._life, MonitorState.RESTARTING)
        self._on_change()

    def _give_up(self, failure: Failure) -> None:
        logger.warning(
            "monitor supervisor: %s; this run is not watched", failure, extra={"error_kind": failure.kind}
        )
        self.error = failure
        self.health = HealthReport()
        self._life = MonitorState.FAILED

    def _live_with_supervisor(self) -> Failure | None:
        """One supervisor from start to end; why it ended, None where we were asked to stop."""
        end = self._companion_end
        companion = None if self._companion is None or end is None or end.lost else self._companion
        spec = SupervisorSpec(
            self._monitors, os.getpid(), self._settings, None if companion is None else companion.spec()
        )
        try:
            supervisor = SupervisorHandle(spec, None if companion is None else companion.descriptor)
        except (OSError, ValueError) as error:
            return Failure.of_process(ProcessFailure.NOT_STARTED, str(error))
        self._supervisor = supervisor
        try:
            return self._follow(supervisor)
        finally:
            if self._stop_asked:
                supervisor.end_in_order(self._settings.join_timeout_s, leave_companion=self._leave_companion)
            else:
                supervisor.end_now(lambda seconds: self._waker.wait_for((), seconds))

    def _follow(self, supervisor: SupervisorHandle) -> Failure | None:
        heard_s, limit_s = time.monotonic(), _STARTING_WITHIN_S
        released = False
        while True:
            if self._stop_asked:
                return None
            if released is not self._released:
                released = self._released
                supervisor.ask(RELEASE if released else RESUME)
            # Judged before the wait: a run that was itself stopped for a while hears what came meanwhile.
            left_s = heard_s + limit_s - time.monotonic()
            overdue, wait_s = left_s < 0, min(left_s, _LONGEST_WAIT_S)
            ready = self._waker.wait_for(supervisor.descriptors, 0 if overdue else wait_s)
            try:
                if supervisor.health.descriptor in ready and self._take_health(supervisor):
                    heard_s, limit_s, overdue = time.monotonic(), _SILENT_AFTER_S, False
                if supervisor.data.descriptor in ready:
                    self._take_reports(supervisor)
            except EOFError as error:
                return self._why_ended(supervisor, error)
            except Exception as error:  # noqa: BLE001 - a torn stream can raise anything while it is decoded
                return Failure.of_process(ProcessFailure.TORN, f"{type(error).__name__}: {error}")
            if overdue:
                return Failure.of_process(ProcessFailure.SILENT, f"gave no answer for {limit_s:g} s")

    def _why_ended(self, supervisor: SupervisorHandle, error: EOFError) -> Failure:
        if self.health.last_word is not None:
            logger.error("monitor supervisor: %s", self.health.last_word)
        ended = supervisor.how_it_ended() or str(error)
        output = supervisor.error_output()
        if output:
            logger.error("monitor supervisor: its standard error:\n%s", output)
            # The last line names the exception.
            ended = f"{ended}; its standard error ends with: {output.splitlines()[-1].strip()}"
        return Failure.of_process(ProcessFailure.ENDED, ended)

    def _take_health(self, supervisor: SupervisorHandle) -> bool:
        frames = supervisor.health.read()
        for frame in frames:
            # A change that came too soon after another one is logged while nothing changes any more.
            self._health_log.note(self.health, self.health if frame == UNCHANGED else frame)
            if frame == UNCHANGED:
                continue
            changed = _states(frame) != _states(self.health)
            self.health = frame
            if frame.last_word is None:
                self._life = moved(self._life, MonitorState.OK)
            if changed:
                self._on_change()
        return bool(frames)

    def _take_reports(self, supervisor: SupervisorHandle) -> None:
        newest: dict[str, bytes] = {}
        for frame in supervisor.data.read():
            newest |= frame
        if newest:
            self._newest.take(newest)
            self._on_change()


def _states(report: HealthReport) -> list[MonitorState]:
    return [one.state for one in report.processes.values()]


def _nothing() -> None:
    return
