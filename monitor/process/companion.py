"""A process of the run's own choice that the supervisor starts next to the monitors, and ends last.

It sees all reports and the health of all monitors. It outlives the run for a moment, and can note how that
ended.
"""

import importlib
import mmap
import os
import pickle
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pylon.monitor.errors import ReportsGoneError
from pylon.monitor.process.child import Child, stop_all
from pylon.monitor.process.heartbeat import Notices
from pylon.monitor.process.manager import ManagerGoneError, ManagerReports
from pylon.monitor.process.messages import COMPANION_DESCRIPTOR, CompanionSpec, SupervisorSpec
from pylon.monitor.process.parent_death import ProcessWatch
from pylon.monitor.process.stop_event import EventFdEvent
from pylon.monitor.process.worker import WorkerContext
from pylon.monitor.status.health import MonitorHealth, ServerReport
from pylon.monitor.status.observation import STALE_INTERVALS, Observation, observations

# Of what is known that the status' class is in: to load a class of the user's may load anything.
_OWN_MODULES = "pylon.monitor."
_LOOK_EVERY_S = 0.005
_FORCE_WITHIN_S = 0.2


class HealthBoard:
    """The health of all processes in memory that the supervisor writes and a companion reads, without a lock.

    The number in front is odd while the text is being written.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, 16 * mmap.PAGESIZE)
        self._numbers = memoryview(self._page).cast("Q")

    def write(self, processes: Mapping[str, MonitorHealth]) -> None:
        """Show this; a text that is too long for it leaves the former one."""
        content = pickle.dumps(dict(processes))
        if len(content) > len(self._page) - 16:
            return
        self._numbers[0] += 1
        self._numbers[1] = len(content)
        self._page[16 : 16 + len(content)] = content
        self._numbers[0] += 1

    def read(self, seen: int = 0) -> tuple[int, dict[str, MonitorHealth] | None]:
        """Its number, and what it shows; None if that is what was `seen`, or being written."""
        before = self._numbers[0]
        if before == seen or before % 2:
            return seen, None
        content = self._page[16 : 16 + self._numbers[1]]
        if self._numbers[0] != before:
            return seen, None
        processes: dict[str, MonitorHealth] = pickle.loads(content)
        return before, processes


class CompanionContext:
    """What a companion works with.

    Attributes:
        run_pid: the process that is watched.
        descriptor: what the run has given it.
        interval_s: between two reports of the monitors.
        stop_descriptor: readable once the companion shall end.
        run_descriptor: readable once the run has ended; None if the kernel has no such thing.
    """

    def __init__(
        self,
        context: WorkerContext,
        notices: Notices,
        board: HealthBoard,
        spec: SupervisorSpec,
        stop: EventFdEvent,
    ) -> None:
        self._context = context
        self._notices = notices
        self._board = board
        self._board_seen = 0
        self._monitors = {one.name: one for one in spec.monitors}
        self._supervisor = ProcessWatch(context.supervisor_pid)
        self._reports = ManagerReports(context.manager, context.heartbeat)
        self._contents: dict[str, bytes] = {}
        self._known: dict[str, dict[str, ServerReport]] = {}
        self._published_s = 0.0
        self.run_pid = spec.parent_pid
        self.descriptor = COMPANION_DESCRIPTOR
        self.interval_s = spec.settings.interval_s
        self.stop_descriptor = stop.descriptor
        self.run_descriptor = context.run_watch.descriptor

    @property
    def slowdown(self) -> float:
        """By what it shall multiply its interval: more than 1 after it was over its limits."""
        return self._context.heartbeat.slowdown

    def ready(self) -> None:
        """Show the supervisor that it has read its modules."""
        self.alive()
        self._context.heartbeat.ready_s = time.monotonic()

    def alive(self) -> None:
        """Give the supervisor a sign of life."""
        self._context.heartbeat.alive_s = time.monotonic()

    def done(self) -> None:
        """Show the supervisor that the run's end is noted: no further companion is needed for that."""
        self._context.heartbeat.success_s = time.monotonic()

    def asked_to_end(self) -> bool:
        """Whether it shall end."""
        return self._context.stop.is_set() or bool(self._context.heartbeat.asked_to_end)

    def run_ended(self) -> bool:
        """Whether the run has ended."""
        return self._context.run_watch.ended()

    def supervisor_ended(self) -> bool:
        """Whether the supervisor has ended before its time."""
        return self._supervisor.ended() and not self._notices.left

    def health(self) -> dict[str, MonitorHealth] | None:
        """The health of all processes; None if it is as before."""
        self._board_seen, processes = self._board.read(self._board_seen)
        return processes

    def new_reports(self) -> bool:
        """Take up what the monitors have reported; whether anything is new. May wait for the Manager.

        Raises:
            ReportsGoneError: there is nothing more to come.
        """
        published_s = self._notices.published_s
        if published_s == self._published_s:
            return False
        try:
            contents = self._reports.copy()
        except ManagerGoneError as error:
            raise ReportsGoneError(str(error)) from error
        self._published_s = published_s
        new = {name: one for name, one in contents.items() if one != self._contents.get(name)}
        self._contents |= new
        for name, content in new.items():
            own = name in self._monitors and self._monitors[name].module.startswith(_OWN_MODULES)
            self._known[name] = _decoded(content, self._known.get(name, {}), own=own)
        return bool(new)

    def observations(self) -> dict[str, dict[str, Observation[Any]]]:
        """What was last reported, by monitor and server. A status of a class of the user's is not loaded."""
        found = {}
        for name, reports in list(self._known.items()):
            stale_after_s = STALE_INTERVALS * self._monitors[name].interval_s
            found[name] = observations(reports, stale_after_s)
        return found


def _decoded(content: bytes, former: Mapping[str, ServerReport], *, own: bool) -> dict[str, ServerReport]:
    reports: dict[str, ServerReport] = pickle.loads(content)
    for server, report in reports.items():
        kept = former.get(server, ServerReport())
        if report.status is None or report.success_s == kept.success_s:
            reports[server] = replace(report, status=kept.status, success_s=kept.success_s)
        elif own:
            reports[server] = replace(report, status=pickle.loads(report.status))
    return reports


class CompanionChild(Child):
    """The companion as the supervisor holds it. Its Event is a descriptor, to be waited for with others."""

    def new_event(self) -> EventFdEvent:
        """See Child."""
        return EventFdEvent()


def accompany(spec: CompanionSpec, context: CompanionContext) -> None:
    """Be the companion.

    It has a process group of its own: whoever ends the monitors with force leaves it alone, since it sees the
    end of the run itself.
    """
    os.setpgid(0, 0)
    try:
        function: Callable[[Any, CompanionContext], None]
        function = getattr(importlib.import_module(spec.module), spec.function)
        function(pickle.loads(spec.arguments), context)
    except Exception as error:  # noqa: BLE001 - whatever it raises is reported as the reason of its end
        context._context.heartbeat.last_word = (type(error).__name__, str(error))
        os._exit(1)
    os._exit(0)


def leave(child: Child) -> None:
    """Let a companion see the run's end: it is started again if it has ended, and woken if it was stopped."""
    if child.pid is not None and not child.running:
        # It is being replaced, and its successor would come too late.
        child.send(signal.SIGKILL)
    child.step(time.monotonic(), may_start=False)
    if not child.heartbeat.success_s:
        child.start_now()
    child.send(signal.SIGCONT)


def finish(child: Child, run_watch: ProcessWatch, budget_s: float) -> bool:
    """End a companion: once the run has ended it ends by itself, and gets `budget_s` for that.

    Returns:
        Whether it is left to itself: one that is still reading its modules, because the run was short or the
        machine has much to do, would be ended before it has noted anything.
    """
    until_s = time.monotonic() + max(0.0, budget_s - _FORCE_WITHIN_S)
    if run_watch.ended():
        leave(child)
        _wait(child, until_s)
    elif not child.heartbeat.ready_s:
        # Nor has one noted anything that was not started yet.
        child.start_now()
        child.ask_to_stop()
        _wait(child, until_s)
    if child.pid is not None and child.heartbeat.ready_s:
        stop_all([child], max(until_s - time.monotonic(), _FORCE_WITHIN_S))
    return child.pid is not None and not child.heartbeat.ready_s


def _wait(child: Child, until_s: float) -> None:
    while child.pid is not None and time.monotonic() < until_s:
        child.step(time.monotonic(), may_start=False)
        time.sleep(_LOOK_EVERY_S)
