"""The training process's side: two pipes, one thread that reads them, and attributes to look at."""

import atexit
import contextlib
import logging
import os
import random
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monitor.process.backoff import pause_s
from monitor.process.host import HEALTH_EVERY_S
from monitor.process.messages import (
    FrameReader,
    HealthReport,
    HostSpec,
    MonitorSpec,
    ProcessReport,
    ServerReport,
    encode,
)
from monitor.process.states import MonitorState

Reports = dict[str, dict[str, ServerReport]]

_BOOT = "import sys; sys.path[:] = {path!r}; from monitor.process.host import main; main({health}, {data})"
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
# A host that is alive tells its health every 0.5 s.
_SILENT_AFTER_S = 6 * HEALTH_EVERY_S
_STARTING_WITHIN_S = 15.0
_AFTER_KILL_S = 0.3
_HEALTHY_AFTER_S = 60.0

logger = logging.getLogger(__name__)


class MonitorClient:
    """Starts a host, keeps its newest reports, replaces it when it fails, ends it.

    Nothing here waits for the host but its own daemon thread. A copy of this object in another
    process (fork, pickle) is inert: it shows the reports it was copied with and stops nothing.

    Args:
        monitors: what to run.
        interval_s, timeout_s, join_timeout_s: see SystemMonitor.
        on_reports: called in the thread with each new set of reports.
    """

    def __init__(
        self,
        monitors: tuple[MonitorSpec, ...],
        *,
        interval_s: float,
        timeout_s: float,
        join_timeout_s: float,
        on_reports: Callable[[Reports], None],
    ) -> None:
        self.reports: Reports = {}
        self.health = HealthReport()
        self.state = MonitorState.STARTING
        self.error: str | None = None
        self.host_restarts = 0
        self._monitors = monitors
        self._settings = (interval_s, timeout_s, join_timeout_s)
        self._on_reports = on_reports
        self._thread: threading.Thread | None = None
        self._owner_pid: int | None = None
        self._stop_lock = threading.Lock()
        self._wake: tuple[int, int] | None = None
        self._host: subprocess.Popen[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: the reports, and none of what reaches the processes."""
        return {"reports": self.reports, "health": self.health, "error": self.error, "host_restarts": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Be an inert copy."""
        self.__dict__.update(state)
        self.state = MonitorState.STOPPED
        self._owner_pid = None
        self._thread = None

    @property
    def started(self) -> bool:
        """Whether this very process started the host."""
        return self._owner_pid == os.getpid()

    @property
    def host_pid(self) -> int | None:
        """Process id of the host; None while there is none."""
        return None if self._host is None else self._host.pid

    def start(self) -> None:
        """Start the host; returns at once. Again after a start: nothing."""
        if self._thread is not None or self.state is MonitorState.STOPPED:
            return
        self._owner_pid = os.getpid()
        self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, name="pylon-monitor", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End all processes within `join_timeout_s` + 0.5 s; from any thread, any number of times."""
        if not self.started or self._wake is None or self._thread is None:
            return
        limit_s = self._settings[2] + 0.5
        if not self._stop_lock.acquire(timeout=limit_s):
            return
        try:
            if self.state is MonitorState.STOPPED:
                return
            self.state = MonitorState.STOPPING
            with contextlib.suppress(OSError):
                os.write(self._wake[1], b"s")
            self._thread.join(limit_s - 0.1)
            if self._thread.is_alive() and self._host is not None:
                # The thread hangs, which only a bug makes it do: the host goes all the same.
                self._host.kill()
            self.state = MonitorState.STOPPED
            atexit.unregister(self.stop)
            if not self._thread.is_alive():
                for descriptor in self._wake:
                    os.close(descriptor)
        finally:
            self._stop_lock.release()

    def process_reports(self) -> dict[str, ProcessReport]:
        """Health of each monitor's process; while the host itself is away, its state for all of them."""
        if self.state in {MonitorState.OK, MonitorState.STARTING} and self.health.processes:
            return self.health.processes
        away = ProcessReport(self.state, None, self.host_restarts, self.error)
        return {one.name: away for one in self._monitors} | {"manager": away}

    def _run(self) -> None:
        generator = random.Random()
        failures = 0
        while self.state is not MonitorState.STOPPING:
            started_s = time.monotonic()
            try:
                reason = self._live_with_host()
            except OSError as error:
                reason = f"the host could not be started: {error}"
            if reason is None:
                return
            failures = 1 if time.monotonic() - started_s > _HEALTHY_AFTER_S else failures + 1
            self._note_failure(reason)
            if self._woken([], pause_s(failures, generator)):
                return

    def _note_failure(self, reason: str) -> None:
        logger.warning("monitor: %s; starting it anew", reason)
        self.error = reason
        self.host_restarts += 1
        self.health = HealthReport()
        if self.state is not MonitorState.STOPPING:
            self.state = MonitorState.RESTARTING

    def _live_with_host(self) -> str | None:
        """One host from start to end; why it ended, None where we were asked to stop."""
        interval_s, timeout_s, join_timeout_s = self._settings
        spec = HostSpec(self._monitors, os.getpid(), interval_s, timeout_s, join_timeout_s)
        with contextlib.ExitStack() as stack:
            health, data = _pipe(stack), _pipe(stack)
            self._host = _launch(health[1], data[1])
            for writing_end in (health[1], data[1]):
                os.close(writing_end)
            try:
                return self._read_from(
                    spec, FrameReader(health[0]), FrameReader(data[0]), (health[0], data[0])
                )
            finally:
                self._end_host(self._host, join_timeout_s)

    def _read_from(
        self, spec: HostSpec, health: FrameReader, data: FrameReader, descriptors: tuple[int, int]
    ) -> str | None:
        host = self._host
        if host is None or host.stdin is None:
            return "the host has no lifeline"
        try:
            host.stdin.write(encode(spec))
            host.stdin.flush()
        except BrokenPipeError:
            return "the host ended while starting"
        heard_s, limit_s = time.monotonic(), _STARTING_WITHIN_S
        while True:
            ready = self._woken(list(descriptors), HEALTH_EVERY_S * 2)
            if self.state is MonitorState.STOPPING:
                return None
            try:
                if descriptors[0] in ready and self._take_health(health):
                    heard_s, limit_s = time.monotonic(), _SILENT_AFTER_S
                if descriptors[1] in ready:
                    self._take_reports(data)
            except EOFError:
                return f"the host ended with {host.poll() if host.poll() is not None else 'its pipe closed'}"
            except Exception as error:  # noqa: BLE001 - a torn stream can raise anything while it is decoded
                return f"the host sent what cannot be read: {type(error).__name__}: {error}"
            if time.monotonic() - heard_s > limit_s:
                return f"the host gave no answer for {limit_s:g} s"

    def _take_health(self, reader: FrameReader) -> bool:
        frames = reader.read()
        if frames:
            _log_changes(self.health, frames[-1])
            self.health = frames[-1]
            if self.state is not MonitorState.STOPPING:
                self.state = MonitorState.OK
        return bool(frames)

    def _take_reports(self, reader: FrameReader) -> None:
        frames = reader.read()
        if frames:
            self.reports = frames[-1]
            self._on_reports(self.reports)

    def _woken(self, descriptors: list[int], timeout_s: float) -> list[int]:
        """Which descriptors are readable, waiting up to `timeout_s` for them or for the wake pipe."""
        if self._wake is None:
            return []
        ready, _, _ = select.select([self._wake[0], *descriptors], [], [], timeout_s)
        return ready

    def _end_host(self, host: subprocess.Popen[bytes], join_timeout_s: float) -> None:
        """Ask the host to end everything, wait, kill it: its children die with it."""
        if host.stdin is not None:
            with contextlib.suppress(OSError):
                # A byte, not only the end of the pipe: a forked loader worker may hold a copy of it.
                host.stdin.write(b"s")
                host.stdin.close()
        orderly = self.state is MonitorState.STOPPING
        try:
            host.wait(join_timeout_s if orderly else 0)
        except subprocess.TimeoutExpired:
            host.kill()
            try:
                host.wait(_AFTER_KILL_S)
            except subprocess.TimeoutExpired:
                logger.error("monitor: host process %d cannot be killed; it is left behind", host.pid)
                # Popen would warn of it at the end of the interpreter.
                host.returncode = -9


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    return reading, writing


def _launch(health: int, data: int) -> "subprocess.Popen[bytes]":
    path = [_PACKAGE_ROOT, *(entry or str(Path.cwd()) for entry in sys.path)]
    boot = _BOOT.format(path=list(dict.fromkeys(path)), health=health, data=data)
    # -S and -I: neither site nor the user's Python settings run in the host; it gets our path as it is.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", boot],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(health, data),
        # Ctrl-C of a terminal goes to the foreground group: the host is in a group of its own.
        process_group=0,
    )


def _log_changes(former: HealthReport, current: HealthReport) -> None:
    """One line per change of state, never one per tick."""
    for name, report in current.processes.items():
        before = former.processes.get(name)
        if before is None or before.state is report.state:
            continue
        level = logging.INFO if report.state in {MonitorState.OK, MonitorState.STARTING} else logging.WARNING
        why = f": {report.error}" if report.error and report.state is not MonitorState.OK else ""
        logger.log(
            level,
            "monitor %s: %s%s",
            name,
            report.state.value,
            why,
            extra={"monitor": name, "state": report.state.value, "error": report.error},
        )
