"""Life of a worker process: one thread per server reads, the main thread reports."""

import importlib
import math
import os
import signal
import threading
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from monitor.process.messages import MonitorSpec, ServerReport
from monitor.process.parent_death import ProcessWatch, die_with_parent
from monitor.transport.manager import ManagerAddress, connect_reports

# Slots of the heartbeat array that supervisor and worker share without a lock.
ALIVE_S, OLDEST_BUSY_S, PUBLISHING_SINCE_S, SUCCESS_S, ASKED_TO_END = range(5)
HEARTBEAT_SLOTS = 5

_LARGEST_STEP_S = 1.0


class StopEvent(Protocol):
    """The part of multiprocessing.Event that a worker uses."""

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it was set, waiting up to `timeout` seconds."""

    def is_set(self) -> bool:
        """Whether it was set."""


class Reads(Protocol):
    """The part of BaseMonitor that runs in a worker."""

    interval_s: float

    def _init_status_structures(self) -> None: ...

    def _get_servers_list(self) -> list[str]: ...

    def _update_single_server(self, server: str) -> Any: ...  # noqa: ANN401 - each monitor's own status

    def _close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the supervisor gives to a worker beside its spec.

    Attributes:
        host_pid: the supervisor's process.
        run_watch: the training process.
        stop: set when the worker shall end.
        manager: how to reach the Manager.
        heartbeat: shared doubles, see the slots above; 0 stands for 'not'.
    """

    host_pid: int
    run_watch: ProcessWatch
    stop: StopEvent
    manager: ManagerAddress
    heartbeat: Any


class ServerReader(threading.Thread):
    """Reads one server again and again, on a fixed rhythm, and keeps its newest report.

    Args:
        monitor: reads the server.
        server: its name.
        stop: ends the rhythm.
    """

    def __init__(self, monitor: Reads, server: str, stop: StopEvent) -> None:
        super().__init__(name=f"read {server}", daemon=True)
        self.report = ServerReport()
        self._monitor = monitor
        self.server = server
        self._stop_event = stop

    def run(self) -> None:
        """Tick on the monotonic clock; ticks that a long reading has missed are counted, not made up for."""
        interval_s = self._monitor.interval_s
        due_s = time.monotonic()
        while not self._stop_event.is_set():
            self._read_once()
            late = math.floor((time.monotonic() - due_s) / interval_s)
            due_s += (late + 1) * interval_s
            if late:
                self.report = replace(self.report, overruns=self.report.overruns + late)
            self._stop_event.wait(max(0.0, due_s - time.monotonic()))

    def _read_once(self) -> None:
        started_s = time.monotonic()
        former = self.report
        self.report = replace(former, busy_since_s=started_s)
        try:
            status = self._monitor._update_single_server(self.server)
        except Exception as error:  # noqa: BLE001 - a collector may fail in any way; its failure is a report
            self.report = replace(
                former,
                failures=former.failures + 1,
                error=f"{type(error).__name__}: {error}",
                duration_s=time.monotonic() - started_s,
            )
            return
        now = time.monotonic()
        self.report = ServerReport(status, now, duration_s=now - started_s, overruns=former.overruns)


def load_monitor(spec: MonitorSpec) -> Reads:
    """The monitor of a spec, made anew with the arguments its original was made with."""
    found: Any = importlib.import_module(spec.module)
    for part in spec.qualname.split("."):
        found = getattr(found, part)
    monitor: Reads = found(*spec.args, **spec.kwargs)
    return monitor


def work(spec: MonitorSpec, around: Surroundings) -> None:
    """Run one monitor until it is told to stop, the run ends, or the Manager is gone."""
    prepare_child(around)
    monitor = load_monitor(spec)
    monitor._init_status_structures()
    readers = [ServerReader(monitor, server, around.stop) for server in monitor._get_servers_list()]
    for reader in readers:
        reader.start()
    _report_until_stopped(spec.name, monitor.interval_s, readers, around)
    if not any(reader.report.busy_since_s for reader in readers):
        monitor._close()
    # A reader may hang in the driver: the interpreter's own end would wait for it.
    os._exit(0)


def prepare_child(around: Surroundings) -> None:
    """What every process of the host does first: leave Ctrl-C to the run, and die with the host."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(around.host_pid)
    around.heartbeat[ALIVE_S] = time.monotonic()


def shall_end(around: Surroundings, wait_s: float) -> bool:
    """Wait up to `wait_s` on the Event; whether this process shall end."""
    return around.stop.wait(wait_s) or bool(around.heartbeat[ASKED_TO_END]) or around.run_watch.ended()


def _report_until_stopped(
    name: str, interval_s: float, readers: list[ServerReader], around: Surroundings
) -> None:
    all_reports: MutableMapping[str, Any] | None = None
    published: list[ServerReport] = []
    step_s = min(interval_s / 4, _LARGEST_STEP_S)
    while not shall_end(around, step_s):
        reports = [reader.report for reader in readers]
        _beat(around.heartbeat, reports)
        if reports == published:
            continue
        around.heartbeat[PUBLISHING_SINCE_S] = time.monotonic()
        try:
            if all_reports is None:
                all_reports = connect_reports(around.manager)
            all_reports[name] = {
                reader.server: report for reader, report in zip(readers, reports, strict=True)
            }
        except (EOFError, OSError):
            # The Manager is gone for good: the supervisor replaces it and us.
            return
        around.heartbeat[PUBLISHING_SINCE_S] = 0.0
        published = reports


def _beat(heartbeat: Any, reports: list[ServerReport]) -> None:  # noqa: ANN401 - a ctypes array
    heartbeat[ALIVE_S] = time.monotonic()
    heartbeat[OLDEST_BUSY_S] = min(
        (report.busy_since_s for report in reports if report.busy_since_s), default=0.0
    )
    heartbeat[SUCCESS_S] = max((report.success_s for report in reports if report.success_s), default=0.0)
