"""Life of a worker process: one thread per server reads, the main thread reports."""

import contextlib
import importlib
import math
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

from pylon.monitor.process.heartbeat import Heartbeat, Notices
from pylon.monitor.process.manager import ManagerAddress, ManagerReports
from pylon.monitor.process.messages import MonitorSpec
from pylon.monitor.process.parent_death import ProcessWatch, call_process, die_with_parent
from pylon.monitor.process.stop_event import StopEvent
from pylon.monitor.status.failure import Failure
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
_MAXIMUM_STATUS_BYTES = 2**18


class Reads(Protocol):
    """The part of BaseMonitor that runs in a worker."""

    interval_s: float

    def _init_status_structures(self) -> None: ...

    def _get_servers_list(self) -> list[str]: ...

    def _spread_s(self, server: str) -> float: ...

    def _update_single_server(self, server: str) -> Any: ...  # noqa: ANN401 - each monitor's own status

    def _set_released(self, released: bool) -> None: ...

    def _close(self) -> None: ...


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


class ServerReader(threading.Thread):
    """Reads one server again and again, on a fixed rhythm, and keeps its newest report.

    Args:
        monitor: reads the server.
        server: its name.
        stop: ends the rhythm.
        heartbeat: says how much slower than its interval it shall read.
    """

    def __init__(self, monitor: Reads, server: str, stop: StopEvent, heartbeat: Heartbeat) -> None:
        super().__init__(name=f"read {server}", daemon=True)
        self.report = ServerReport()
        self._monitor = monitor
        self.server = server
        self._stop_event = stop
        self._heartbeat = heartbeat

    def run(self) -> None:
        """Tick on the monotonic clock; ticks that a long reading has missed are counted, not made up for."""
        due_s = time.monotonic()
        # The first reading is made at once; the rhythm of all others is shifted.
        spread_s = self._monitor._spread_s(self.server)
        while not self._stop_event.is_set():
            interval_s = self._monitor.interval_s * self._heartbeat.slowdown
            self._read_once()
            due_s, spread_s = due_s + spread_s, 0.0
            late = max(-1, math.floor((time.monotonic() - due_s) / interval_s))
            due_s += (late + 1) * interval_s
            if late > 0:
                self.report = replace(self.report, overruns=self.report.overruns + late)
            self._stop_event.wait(max(0.0, due_s - time.monotonic()))

    def _read_once(self) -> None:
        started_s = time.monotonic()
        former = self.report
        self.report = replace(former, busy_since_s=started_s)
        try:
            # Pickled here, where a status that cannot be is this reading's failure alone.
            status = _pickled(self._monitor._update_single_server(self.server))
        except Exception as error:  # noqa: BLE001 - a collector may fail in any way; its failure is a report
            self.report = replace(
                former,
                consecutive_failures=former.consecutive_failures + 1,
                last_error=Failure.of(error),
                reading_s=time.monotonic() - started_s,
            )
            return
        now = time.monotonic()
        self.report = ServerReport(now, reading_s=now - started_s, overruns=former.overruns, status=status)


def _pickled(status: object) -> bytes:
    content = pickle.dumps(status)
    if len(content) > _MAXIMUM_STATUS_BYTES:
        raise ValueError(
            f"a status of {len(content)} bytes, expected at most {_MAXIMUM_STATUS_BYTES}:"
            " it is sent once per interval, and all servers of a monitor share one frame."
        )
    return content


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
            readers += [
                ServerReader(monitor, server, context.stop, context.heartbeat)
                for server in monitor._get_servers_list()
            ]
            for reader in readers:
                reader.start()
            _report_until_stopped(spec.name, monitor, readers, notices, context)
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


def shall_end(context: WorkerContext, wait_s: float) -> bool:
    """Wait up to `wait_s` on the Event; whether this process shall end."""
    return context.stop.wait(wait_s) or bool(context.heartbeat.asked_to_end) or context.run_watch.ended()


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


def _report_until_stopped(
    name: str, monitor: Reads, readers: list[ServerReader], notices: Notices, context: WorkerContext
) -> None:
    manager = ManagerReports(context.manager, context.heartbeat)
    published: list[ServerReport] = []
    step_s = min(monitor.interval_s / _STEPS_PER_INTERVAL, _LONGEST_STEP_S)
    eager_until_s = time.monotonic() + _EAGER_FOR_S
    released = notices.released
    wait_s = published_s = 0.0
    context.heartbeat.ready_s = time.monotonic()
    while not shall_end(context, wait_s):
        if notices.released != released:
            released = notices.released
            monitor._set_released(bool(released))
        reports = [reader.report for reader in readers]
        first = any(report.success_s is None for report in reports) and time.monotonic() < eager_until_s
        wait_s = min(step_s, _EAGER_STEP_S) if first else step_s
        _beat(context.heartbeat, reports)
        # A report holds all servers: each time one of many has changed would be too often. What a server
        # reports first is sent at once.
        recently = time.monotonic() - published_s < _SPACING * monitor.interval_s / _STEPS_PER_INTERVAL
        if reports == published or (recently and _answering(reports) == _answering(published)):
            continue
        servers = {reader.server: report for reader, report in zip(readers, reports, strict=True)}
        manager.put(name, pickle.dumps(servers))
        notices.published_s = published_s = time.monotonic()
        published = reports


def _answering(reports: list[ServerReport]) -> int:
    """How many servers have ever answered."""
    return sum(report.success_s is not None for report in reports)


def _beat(heartbeat: Heartbeat, reports: list[ServerReport]) -> None:
    heartbeat.alive_s = time.monotonic()
    heartbeat.busy_since_s = min(
        (report.busy_since_s for report in reports if report.busy_since_s), default=0.0
    )
    heartbeat.success_s = max((report.success_s for report in reports if report.success_s), default=0.0)
