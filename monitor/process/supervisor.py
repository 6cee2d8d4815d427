"""The supervisor: starts Manager, relay and workers, watches their heartbeats, replaces what fails.

It has one thread, no torch and no driver, so its children are forked from it: each shares its
memory and starts in milliseconds. It makes no call that another process could hold up.
"""

import contextlib
import os
import signal
import sys
import time
import traceback
from functools import partial
from multiprocessing import connection, get_context

from pylon.monitor.process.child import Child, stop_all
from pylon.monitor.process.companion import (
    CompanionChild,
    CompanionContext,
    HealthBoard,
    accompany,
    finish,
    leave,
)
from pylon.monitor.process.diagnosis import Verdict, blame, calm_for_s, trouble
from pylon.monitor.process.heartbeat import Heartbeat, Notices
from pylon.monitor.process.manager import ManagerAddress, serve_reports
from pylon.monitor.process.messages import (
    DATA_DESCRIPTOR,
    HEALTH_DESCRIPTOR,
    HEALTH_EVERY_S,
    LEAVE,
    RELEASE,
    RESUME,
    STOP,
    UNCHANGED,
    CompanionSpec,
    FrameWriter,
    HealthReport,
    MonitorSpec,
    SupervisorSpec,
    read_one,
)
from pylon.monitor.process.parent_death import ProcessWatch, call_process, die_with_parent
from pylon.monitor.process.pipes import close_inherited
from pylon.monitor.process.relay import relay
from pylon.monitor.process.resources import cap_memory
from pylon.monitor.process.stop_event import EventFdEvent, StopEvent
from pylon.monitor.process.worker import WorkerContext, prepare_child, work
from pylon.monitor.status.failure import ProcessFailure
from pylon.monitor.status.states import MonitorState

_SHORTEST_STEP_S, _LONGEST_STEP_S = 0.05, 0.5
_GAP_S = 2.0
_STALE_INTERVALS = 3
# Workers get most of the budget; Manager and relay are ended by SIGKILL, which takes moments.
_WORKERS_SHARE = 0.8
# Once the run has died nothing waits for us: everything is gone within two seconds of it.
_LONGEST_STOP_WITHOUT_RUN_S = 1.5
# It writes to a disk, which may be slow: in time-outs of a reading.
_COMPANION_PATIENCE = 2
_COMPANION_S = 0.3


class Supervisor:
    """The supervisor.

    Args:
        spec: what to run.
        lifeline: readable when the training process asks for the end, or is gone.
        health_descriptor, data_descriptor: pipes to the training process.
    """

    def __init__(
        self, spec: SupervisorSpec, lifeline: int, health_descriptor: int, data_descriptor: int
    ) -> None:
        self._spec = spec
        self._pid = os.getpid()
        self._lifeline = lifeline
        self._run_watch = ProcessWatch(spec.parent_pid)
        self._health_descriptor = health_descriptor
        self._data_descriptor = data_descriptor
        self._health = FrameWriter(health_descriptor)
        self._notices = Notices()
        self._address = ManagerAddress.new()
        context = get_context("fork")
        self._manager = Child("pylon-manager", context, self._start_manager, spec.settings.limits)
        self._relay = Child("pylon-relay", context, self._start_relay, spec.settings.limits)
        self._workers = {
            one.name: Child(
                f"pylon-{one.name}", context, partial(self._start_worker, one), spec.settings.limits
            )
            for one in spec.monitors
        }
        self._monitors = {one.name: one for one in spec.monitors}
        self._board = HealthBoard()
        self._companion: Child | None = None
        if (companion := spec.companion) is not None:
            start = partial(self._start_companion, companion)
            name = f"pylon-{companion.name}"
            self._companion = CompanionChild(name, context, start, spec.settings.limits)
        self._leave_companion = False
        self._judge_from_s = 0.0
        self._told_s = 0.0
        self._told: HealthReport | None = None

    def run(self) -> None:
        """Supervise until the lifeline ends or the run does, then end everything within the budget."""
        looked_s = time.monotonic()
        while not self._woken():
            now = time.monotonic()
            if now - looked_s > _GAP_S:
                # This process was itself stopped, and perhaps all of them: they get time to show life.
                self._judge_from_s = now + _GAP_S
            looked_s = now
            self._step(now)
            self._tell(now)
        self._stop()

    def _woken(self) -> bool:
        """Wait until something ends or the next look is due; whether the end is asked for."""
        descriptors = [self._lifeline, self._run_watch.descriptor]
        descriptors += [child.sentinel for child in self._everybody()]
        ready = connection.wait([one for one in descriptors if one is not None], self._wait_s())
        if self._lifeline in ready and self._asked_to_stop():
            return True
        return self._run_watch.ended() or os.getppid() != self._spec.parent_pid

    def _wait_s(self) -> float:
        """Until the next look: the next sign of life is due, or something may have to be judged."""
        now, settings = time.monotonic(), self._spec.settings
        step_s = max(_SHORTEST_STEP_S, min(settings.interval_s / 4, _LONGEST_STEP_S))
        if self._run_watch.descriptor is None:
            # The run's end is looked for.
            return step_s
        workers = [(self._workers[name], monitor) for name, monitor in self._monitors.items()]
        others = [one for one in self._without_readings() if not self._is_done(one)]
        sign_due_s = self._told_s + HEALTH_EVERY_S - now
        return max(step_s, min(sign_due_s, calm_for_s(workers, others, now, settings.timeout_s)))

    def _is_done(self, child: Child) -> bool:
        """Whether it is a companion that has noted the run's end."""
        return child is self._companion and bool(child.heartbeat.success_s)

    def _asked_to_stop(self) -> bool:
        """Follow what the training process has asked for on the lifeline."""
        asked = os.read(self._lifeline, 4096)
        for request in asked:
            if request in {RELEASE, RESUME}:
                self._notices.released = float(request == RELEASE)
                for worker in self._workers.values():
                    worker.heartbeat.wake.set()
        self._leave_companion = LEAVE in asked
        return not asked or STOP in asked or LEAVE in asked

    def _step(self, now: float) -> None:
        served = self._manager.running
        self._manager.step(now)
        if served and not self._manager.running:
            # A dead Manager is for good, and so is everybody's connection to it.
            for child in self._clients():
                child.end(now, ProcessFailure.MANAGER_GONE, f"the Manager: {self._manager.error}")
        self._keep_door()
        for child in self._clients():
            child.step(now, may_start=self._manager.running and not self._is_done(child))
        for child in self._without_readings():
            if child.running and child.state is MonitorState.STARTING and child.heartbeat.alive_s:
                child.move(MonitorState.OK)
        if now >= self._judge_from_s:
            self._judge(now)

    def _keep_door(self) -> None:
        """Leave the inside of the door to the Manager alone, and have a new door for the next Manager."""
        if self._manager.running:
            # When the Manager ends, those that wait to be accepted must notice: no other process holds it.
            self._address.door.inside.close()
        elif self._address.door.given_away:
            self._address.door.close()
            self._address = ManagerAddress.new()

    def _judge(self, now: float) -> None:
        relay_limit_s = max(self._spec.settings.timeout_s, _STALE_INTERVALS * self._spec.settings.interval_s)
        _follow(self._relay, trouble(self._relay, now, relay_limit_s, self._spec.settings.timeout_s), now)
        for name, worker in self._workers.items():
            stale_after_s = _STALE_INTERVALS * self._monitors[name].interval_s * worker.heartbeat.slowdown
            timeout_s = self._monitors[name].timeout_s
            _follow(worker, trouble(worker, now, max(timeout_s, stale_after_s), timeout_s), now)
            if worker.running:
                _note_success(worker, now, stale_after_s)
        if self._companion is not None:
            limit_s = _COMPANION_PATIENCE * self._spec.settings.timeout_s
            _follow(self._companion, trouble(self._companion, now, limit_s, limit_s), now)
        if (over := self._manager.restrain(now)) is not None:
            self._manager.end(now, ProcessFailure.OVER_LIMIT, over)
        culprit = blame(self._manager, self._clients(), now, self._spec.settings.timeout_s)
        if culprit is not None:
            culprit.end(now, ProcessFailure.SILENT, f"gave no answer for {self._spec.settings.timeout_s:g} s")

    def _tell(self, now: float) -> None:
        """Report the health when it has changed, and now and then as a sign of life."""
        reports = {name: worker.report() for name, worker in self._workers.items()}
        others = {child.name.removeprefix("pylon-"): child.report() for child in self._without_readings()}
        report = HealthReport(reports | others)
        unchanged = report == self._told
        if self._companion is not None and not unchanged:
            self._board.write(report.processes)
        if unchanged and now - self._told_s < HEALTH_EVERY_S:
            return
        try:
            if self._health.write(UNCHANGED if unchanged else report):
                self._told, self._told_s = report, now
        except OSError:
            # The pipe is closed: the lifeline ends in the same moment.
            return

    def _stop(self) -> None:
        """End all, workers first; then go without waiting for anything that is left."""
        budget_s = self._spec.settings.join_timeout_s
        if self._run_watch.ended():
            budget_s = min(budget_s, _LONGEST_STOP_WITHOUT_RUN_S)
        until_s = time.monotonic() + budget_s
        stop_all(list(self._workers.values()), budget_s * _WORKERS_SHARE)
        # Neither of these two holds a driver: nothing is lost by ending them at once.
        for child in (self._relay, self._manager):
            child.send(signal.SIGKILL)
        stop_all([self._relay, self._manager], budget_s * (1 - _WORKERS_SHARE) / 2)
        self._notices.left = float(self._leave_companion)
        if self._companion is not None and self._leave_companion:
            leave(self._companion)
        elif self._companion is not None:
            left_s = max(_COMPANION_S, until_s - time.monotonic())
            self._leave_companion = finish(self._companion, self._run_watch, left_s)
        ended = (one for one in self._everybody() if one is not self._companion or not self._leave_companion)
        left = {child.name: child.pid for child in ended if child.pid is not None}
        if left:
            with contextlib.suppress(OSError):
                self._health.write(HealthReport(left_behind=left))

    def _clients(self) -> list[Child]:
        """Those that talk to the Manager."""
        return [*self._without_readings()[1:], *self._workers.values()]

    def _without_readings(self) -> list[Child]:
        """Those that read no server, the Manager first."""
        return [self._manager, self._relay, *([] if self._companion is None else [self._companion])]

    def _everybody(self) -> list[Child]:
        return [self._manager, *self._clients()]

    def _worker_context(self, event: StopEvent, heartbeat: Heartbeat) -> WorkerContext:
        """What a forked child gets; closes in it what only the supervisor uses."""
        os.close(self._health_descriptor)
        return WorkerContext(self._pid, self._run_watch, event, self._address, heartbeat)

    def _start_manager(self, event: StopEvent, heartbeat: Heartbeat) -> None:
        prepare_child("pylon-manager", self._worker_context(event, heartbeat), signal.SIGKILL)
        os.close(self._data_descriptor)
        serve_reports(self._address)

    def _start_relay(self, event: StopEvent, heartbeat: Heartbeat) -> None:
        context = self._worker_context(event, heartbeat)
        prepare_child("pylon-relay", context, signal.SIGKILL)
        relay(FrameWriter(self._data_descriptor), self._spec.settings.interval_s, self._notices, context)

    def _start_companion(self, spec: CompanionSpec, event: StopEvent, heartbeat: Heartbeat) -> None:
        context = self._worker_context(event, heartbeat)
        # Not ended with the supervisor: it watches the run itself, and must only be awake to see its end.
        prepare_child(f"pylon-{spec.name}", context, signal.SIGCONT, needs_parent=False)
        os.close(self._data_descriptor)
        if isinstance(event, EventFdEvent):
            accompany(spec, CompanionContext(context, self._notices, self._board, self._spec, event))

    def _start_worker(self, spec: MonitorSpec, event: StopEvent, heartbeat: Heartbeat) -> None:
        os.close(self._data_descriptor)
        work(spec, self._notices, self._worker_context(event, heartbeat))


def _follow(child: Child, verdict: Verdict | None, now: float) -> None:
    if verdict is not None:
        child.end(now, *verdict)


def _note_success(worker: Child, now: float, stale_after_s: float) -> None:
    if worker.heartbeat.success_s and now - worker.heartbeat.success_s <= stale_after_s:
        worker.move(MonitorState.OK)
    elif worker.overdue(now, stale_after_s):
        worker.move(MonitorState.STALE)


def main(parent_pid: int, descriptors: int) -> None:
    """Be the supervisor; the spec comes as one frame on standard input, which then is the lifeline.

    Args:
        parent_pid: the training process.
        descriptors: how many it was given: the standard streams, its pipes, and what its companion gets.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    close_inherited(descriptors)
    # There is nothing to put in order yet. The lifeline may not show that the run has ended: a process
    # that the run has forked may hold its other end.
    die_with_parent(parent_pid, signal.SIGKILL)
    call_process("pylon-supervise")
    lifeline = sys.stdin.fileno()
    try:
        # Requests may be behind the spec already: they stay in the pipe, for Supervisor to follow.
        spec: SupervisorSpec = read_one(lifeline)
    except EOFError:
        # The run ended before it sent its spec.
        os._exit(0)
    # Inherited by all that is started from here.
    cap_memory(spec.settings.limits)
    # SIGCONT: a supervisor that was stopped wakes up, sees the end of the run, and ends all in order.
    die_with_parent(spec.parent_pid, signal.SIGCONT)
    exit_code = 1
    try:
        Supervisor(spec, lifeline, HEALTH_DESCRIPTOR, DATA_DESCRIPTOR).run()
        exit_code = 0
    except Exception:  # noqa: BLE001 - whatever it is, the training process logs it
        with contextlib.suppress(OSError):
            FrameWriter(HEALTH_DESCRIPTOR).write(HealthReport(last_word=traceback.format_exc()))
    # multiprocessing's own exit waits for every child without limit, an unkillable one included.
    os._exit(exit_code)
