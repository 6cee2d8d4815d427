"""The host process: starts Manager, relay and workers, watches their heartbeats, replaces what fails.

It has one thread, no torch and no driver, so its children are forked from it: each shares its
memory and starts in milliseconds. It makes no call that another process could hold up.
"""

import os
import signal
import sys
import time
from functools import partial
from multiprocessing import connection, get_context
from typing import Any

from monitor.process.child import Child, wait_until_ended
from monitor.process.messages import FrameReader, FrameWriter, HealthReport, HostSpec, MonitorSpec
from monitor.process.parent_death import ProcessWatch, die_with_parent
from monitor.process.relay import relay
from monitor.process.states import MonitorState
from monitor.process.worker import (
    ALIVE_S,
    OLDEST_BUSY_S,
    PUBLISHING_SINCE_S,
    SUCCESS_S,
    Surroundings,
    prepare_child,
    work,
)
from monitor.transport.manager import ManagerAddress, serve_reports

HEALTH_EVERY_S = 0.5
_SHORTEST_STEP_S = 0.05
_STARTING_WITHIN_S = 10.0
_STALE_INTERVALS = 3


class Host:
    """The supervisor.

    Args:
        spec: what to run.
        lifeline: readable when the training process asks for the end, or is gone.
        health_descriptor, data_descriptor: pipes to the training process.
    """

    def __init__(self, spec: HostSpec, lifeline: int, health_descriptor: int, data_descriptor: int) -> None:
        self._spec = spec
        self._pid = os.getpid()
        self._lifeline = lifeline
        self._run_watch = ProcessWatch(spec.parent_pid)
        self._health = FrameWriter(health_descriptor)
        self._data_descriptor = data_descriptor
        self._address = ManagerAddress.new()
        context = get_context("fork")
        self._manager = Child("pylon-manager", context, self._start_manager)
        self._relay = Child("pylon-relay", context, self._start_relay)
        self._workers = {
            one.name: Child(f"pylon-{one.name}", context, partial(self._start_worker, one))
            for one in spec.monitors
        }
        self._next_health_s = 0.0

    def run(self) -> None:
        """Supervise until the lifeline ends, then end everything within the budget."""
        while not self._woken():
            now = time.monotonic()
            self._step(now)
            if now >= self._next_health_s:
                self._next_health_s = now + HEALTH_EVERY_S
                self._tell()
        self._stop()

    def _woken(self) -> bool:
        """Wait until something ends or the next look is due; whether the end is asked for."""
        step_s = max(_SHORTEST_STEP_S, min(self._spec.interval_s / 4, HEALTH_EVERY_S))
        sentinels = [child.sentinel for child in self._everybody() if child.sentinel is not None]
        ready = connection.wait([self._lifeline, self._run_watch.descriptor, *sentinels], step_s)
        return self._lifeline in ready or self._run_watch.descriptor in ready

    def _step(self, now: float) -> None:
        if not self._manager.running:
            self._replace_manager(now)
        for child in self._everybody():
            if child is self._manager or self._manager.running:
                child.step(now)
        self._judge_transport(now)
        for name, worker in self._workers.items():
            if worker.running:
                self._judge_worker(name, worker, now)

    def _replace_manager(self, now: float) -> None:
        """A dead Manager is for good, and so is everybody's connection to it."""
        for child in (self._relay, *self._workers.values()):
            child.end(now, f"the Manager {self._manager.error or 'ended'}")
        self._address = ManagerAddress.new()

    def _judge_transport(self, now: float) -> None:
        """Replace a Manager that does not answer: the relay or a worker waits for it too long."""
        for child in (self._relay, *self._workers.values()):
            since_s = child.heartbeat[PUBLISHING_SINCE_S]
            if child.running and since_s and now - since_s > self._spec.timeout_s:
                self._manager.end(now, f"gave no answer for {self._spec.timeout_s:g} s")
        for child in (self._manager, self._relay):
            if child.running and child.state is MonitorState.STARTING and child.heartbeat[ALIVE_S]:
                child.move(MonitorState.OK)

    def _judge_worker(self, name: str, worker: Child, now: float) -> None:
        alive_s, busy_s, success_s = (worker.heartbeat[slot] for slot in (ALIVE_S, OLDEST_BUSY_S, SUCCESS_S))
        silent_after_s = max(self._spec.timeout_s, _STALE_INTERVALS * self._spec.interval_s)
        if not alive_s:
            if worker.overdue(now, _STARTING_WITHIN_S):
                worker.end(now, f"{name}: did not start within {_STARTING_WITHIN_S:g} s")
        elif now - alive_s > silent_after_s:
            worker.end(now, f"{name}: no sign of life for {silent_after_s:g} s")
        elif busy_s and now - busy_s > self._spec.timeout_s:
            worker.end(now, f"{name}: a reading takes longer than {self._spec.timeout_s:g} s")
        elif success_s and now - success_s <= silent_after_s:
            worker.move(MonitorState.OK)
        elif worker.overdue(now, silent_after_s):
            worker.move(MonitorState.STALE)

    def _tell(self) -> None:
        reports = {name: worker.report() for name, worker in self._workers.items()}
        try:
            self._health.write(HealthReport(reports | {"manager": self._manager.report()}))
        except OSError:
            # Nobody reads: the lifeline ends in the same moment.
            return

    def _stop(self) -> None:
        """Ask, wait, SIGTERM, wait, SIGKILL, wait a little, and go: all within the budget."""
        begun_s = time.monotonic()
        budget_s = self._spec.stop_budget_s
        workers = list(self._workers.values())
        for child in self._everybody():
            child.move(MonitorState.STOPPING)
        for worker in workers:
            worker.ask_to_stop()
        if not wait_until_ended(workers, begun_s + budget_s / 2):
            _send_all(workers, signal.SIGTERM)
            if not wait_until_ended(workers, begun_s + budget_s * 0.75):
                _send_all(workers, signal.SIGKILL)
        # Neither of these two calls a driver: nothing is lost by ending them at once.
        _send_all([self._relay, self._manager], signal.SIGKILL)
        wait_until_ended(self._everybody(), begun_s + budget_s * 0.9)
        # multiprocessing's own exit waits for every child without limit, an unkillable one included.
        os._exit(0)

    def _everybody(self) -> list[Child]:
        return [self._manager, self._relay, *self._workers.values()]

    def _surroundings(self, event: Any, heartbeat: Any) -> Surroundings:  # noqa: ANN401 - shared ctypes
        return Surroundings(self._pid, self._run_watch, event, self._address, heartbeat)

    def _start_manager(self, event: Any, heartbeat: Any) -> None:  # noqa: ANN401
        prepare_child(self._surroundings(event, heartbeat))
        serve_reports(self._address)

    def _start_relay(self, event: Any, heartbeat: Any) -> None:  # noqa: ANN401
        around = self._surroundings(event, heartbeat)
        prepare_child(around)
        relay(FrameWriter(self._data_descriptor), self._spec.interval_s, around)

    def _start_worker(self, spec: MonitorSpec, event: Any, heartbeat: Any) -> None:  # noqa: ANN401
        work(spec, self._surroundings(event, heartbeat))


def _send_all(children: list[Child], number: signal.Signals) -> None:
    for child in children:
        child.send(number)


def main(health_descriptor: int, data_descriptor: int) -> None:
    """Be the host; the spec comes as one frame on standard input, which then is the lifeline."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lifeline = sys.stdin.fileno()
    reader = FrameReader(lifeline)
    frames: list[HostSpec] = []
    while not frames:
        connection.wait([lifeline])
        frames = reader.read()
    spec = frames[0]
    die_with_parent(spec.parent_pid)
    Host(spec, lifeline, health_descriptor, data_descriptor).run()
