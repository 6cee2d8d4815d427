"""Life of a worker process: one thread per server reads, the main thread reports."""

import contextlib
import importlib
import os
import pickle
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from pylon.monitor.process.heartbeat import Heartbeat, Notices
from pylon.monitor.process.manager import ManagerAddress, ManagerReports
from pylon.monitor.process.messages import MonitorSpec
from pylon.monitor.process.parent_death import ProcessWatch, call_process, die_with_parent
from pylon.monitor.process.reading import Reads, ServerReader
from pylon.monitor.process.stop_event import EventFdEvent, StopEvent
from pylon.monitor.status.health import ServerReport

_STEPS_PER_INTERVAL = 4
# Somewhat less than one, so that a step that comes a moment early is not left out.
_SPACING = 0.9
# Shorter than the supervisor's patience after it has asked: a worker ends in order, not by a signal.
_LONGEST_STEP_S = 0.3
# After SIGTERM, for letting go of the driver; then SIGALRM ends the process, also where the
# supervisor is not there any more to do it.
_END_WITHIN_S = 1.0
_REST_WITHIN_S = 0.3
_LOOK_EVERY_S = 0.01
# The first readings are reported as soon as they are there.
_EAGER_STEP_S = 0.02
_EAGER_FOR_S = 1.0


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What the supervisor gives to a worker besides its spec.

    Attributes:
        supervisor_pid: the supervisor's process.
        run_watch: the training process.
        stop: set when the worker shall end.
        manager: how to reach the Manager.
        heartbeat: what the supervisor sees of the worker.
    """

    supervisor_pid: int
    run_watch: ProcessWatch
    stop: StopEvent
    manager: ManagerAddress
    heartbeat: Heartbeat


def load_monitor(spec: MonitorSpec) -> Reads:
    """The monitor of a spec, made again with the arguments of its original."""
    found: Any = importlib.import_module(spec.module)
    for part in spec.qualname.split("."):
        found = getattr(found, part)
    args, kwargs = pickle.loads(spec.arguments)
    monitor: Reads = found(*args, **kwargs)
    return monitor


def work(spec: MonitorSpec, notices: Notices, context: WorkerContext) -> NoReturn:
    """Run one monitor until it is asked to stop, the run ends, or the Manager is gone."""
    prepare_child(f"pylon-{spec.name}", context, signal.SIGTERM)
    readers: list[ServerReader] = []
    monitor: Reads | None = None
    exit_code = 1
    try:
        with _ended_by_sigterm():
            monitor = load_monitor(spec)
            monitor._init_status_structures()
            monitor._set_released(bool(notices.released))
            news = EventFdEvent()
            readers += [
                ServerReader(monitor, server, context.stop, context.heartbeat, news)
                for server in monitor._get_servers_list()
            ]
            for reader in readers:
                reader.start()
            _Reporting(spec.name, monitor, readers, news, notices=notices, context=context).until_stopped()
            exit_code = 0
    except _AskedToEnd:
        exit_code = 0
    except Exception as error:  # noqa: BLE001 - whatever a user's class raises is reported, not printed
        context.heartbeat.last_word = (type(error).__name__, str(error))
    _close_in_order(monitor, readers, context)
    # A reader may hang in the driver: the interpreter's own end would wait for it.
    os._exit(exit_code)


def prepare_child(
    name: str, context: WorkerContext, on_parent_death: signal.Signals, *, needs_parent: bool = True
) -> None:
    """What every process of the supervisor does first.

    Leave Ctrl-C to the run, die with the supervisor, and keep what libraries print out of the run's output.

    Args:
        name: for the process list.
        context: of the process.
        on_parent_death, needs_parent: see die_with_parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(context.supervisor_pid, on_parent_death, needs_parent=needs_parent)
    call_process(name)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    context.heartbeat.alive_s = time.monotonic()


def shall_end(context: WorkerContext, wait_s: float, *readable: int) -> bool:
    """Wait for what ends this process, or wakes it, or one of `readable`; whether it shall end.

    Args:
        context: of the process.
        wait_s: how long at most.
        readable: further descriptors.
    """
    wake, run = context.heartbeat.wake, context.run_watch.descriptor
    poll = select.poll()
    for descriptor in (wake.descriptor, *readable, *(() if run is None else (run,))):
        poll.register(descriptor, select.POLLIN)
    # Without a descriptor that shows the run's end, it is looked for.
    poll.poll(1000 * max(0.0, min(wait_s, _LONGEST_STEP_S) if run is None else wait_s))
    wake.clear()
    return bool(context.heartbeat.asked_to_end) or context.stop.is_set() or context.run_watch.ended()


class _AskedToEnd(Exception):  # noqa: N818 - not an error
    """SIGTERM has come."""


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Raise _AskedToEnd in the block when SIGTERM comes, and give the rest of the life one second."""

    def on_sigterm(_number: int, _frame: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, _END_WITHIN_S)
        raise _AskedToEnd

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, _END_WITHIN_S)


def _close_in_order(monitor: Reads | None, readers: list[ServerReader], context: WorkerContext) -> None:
    """Let the monitor close what it holds, unless a reading is under way and may hold it without a limit."""
    give_up_s = time.monotonic() + _REST_WITHIN_S
    while any(reader.report.busy_since_s for reader in readers):
        if time.monotonic() > give_up_s:
            return
        time.sleep(_LOOK_EVERY_S)
    if monitor is None:
        return
    try:
        monitor._close()
    except Exception as error:  # noqa: BLE001 - the process ends either way
        context.heartbeat.last_word = (type(error).__name__, str(error))


class _Reporting:
    """Publishes what the readers of one monitor report, and sleeps until one of them does."""

    def __init__(
        self,
        name: str,
        monitor: Reads,
        readers: list[ServerReader],
        news: EventFdEvent,
        *,
        notices: Notices,
        context: WorkerContext,
    ) -> None:
        self._name = name
        self._monitor = monitor
        self._readers = readers
        self._news = news
        self._notices = notices
        self._context = context
        self._manager = ManagerReports(context.manager, context.heartbeat)
        self._published: list[ServerReport] = []
        self._published_s = 0.0
        self._step_s = min(monitor.interval_s / _STEPS_PER_INTERVAL, _LONGEST_STEP_S)

    def until_stopped(self) -> None:
        """Publish until the end is asked for, or the run has ended."""
        heartbeat, notices = self._context.heartbeat, self._notices
        eager_until_s = time.monotonic() + _EAGER_FOR_S
        released = notices.released
        heartbeat.ready_s = time.monotonic()
        while True:
            self._news.clear()
            looked_s = time.monotonic()
            if notices.released != released:
                released = notices.released
                self._monitor._set_released(bool(released))
            reports = [reader.report for reader in self._readers]
            _beat(heartbeat, reports)
            is_late = self._publish(reports)
            first = any(report.success_s is None for report in reports) and looked_s < eager_until_s
            spacing_s = min(self._step_s, _EAGER_STEP_S) if first else self._step_s
            if shall_end(
                self._context, self._longest_wait_s(reports, is_late=is_late), self._news.descriptor
            ):
                return
            # Of many servers one has always just reported.
            early_s = looked_s + spacing_s - time.monotonic()
            if early_s > 0 and shall_end(self._context, early_s):
                return

    def _longest_wait_s(self, reports: list[ServerReport], *, is_late: bool) -> float:
        """Until a report that came too soon is due, or a reading has begun that does not end."""
        if is_late or not reports or any(report.busy_since_s for report in reports):
            return self._step_s
        due_s = min(reader.due_s for reader in self._readers)
        return max(0.0, due_s - time.monotonic()) + self._step_s

    def _publish(self, reports: list[ServerReport]) -> bool:
        """Put these into the Manager dict; whether that must wait, as it was done just now."""
        # A report holds all servers: each time one of many has changed would be too often. What a server
        # reports first is sent at once.
        spacing_s = _SPACING * self._monitor.interval_s / _STEPS_PER_INTERVAL
        recently = time.monotonic() - self._published_s < spacing_s
        if reports == self._published:
            return False
        if recently and _answering(reports) == _answering(self._published):
            return True
        servers = {reader.server: report for reader, report in zip(self._readers, reports, strict=True)}
        self._manager.put(self._name, pickle.dumps(servers))
        self._notices.note_published()
        self._published_s, self._published = time.monotonic(), reports
        return False


def _answering(reports: list[ServerReport]) -> int:
    """How many servers have ever answered."""
    return sum(report.success_s is not None for report in reports)


def _beat(heartbeat: Heartbeat, reports: list[ServerReport]) -> None:
    heartbeat.alive_s = time.monotonic()
    heartbeat.busy_since_s = min(
        (report.busy_since_s for report in reports if report.busy_since_s), default=0.0
    )
    heartbeat.success_s = max((report.success_s for report in reports if report.success_s), default=0.0)
