"""The part of a worker that reads: one thread per server."""

import math
import pickle
import threading
import time
from dataclasses import replace
from typing import Any, Protocol

from pylon.monitor.process.heartbeat import Heartbeat
from pylon.monitor.process.stop_event import EventFdEvent, StopEvent
from pylon.monitor.status.failure import Failure
from pylon.monitor.status.health import ServerReport

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


class ServerReader(threading.Thread):
    """Reads one server again and again, on a fixed rhythm, and keeps its newest report.

    Args:
        monitor: reads the server.
        server: its name.
        stop: ends the rhythm.
        heartbeat: says how much slower than its interval it shall read.
        news: set after each reading.

    Attributes:
        report: the newest.
        due_s: when the next reading begins, in monotonic seconds.
    """

    def __init__(
        self, monitor: Reads, server: str, stop: StopEvent, heartbeat: Heartbeat, news: EventFdEvent
    ) -> None:
        super().__init__(name=f"read {server}", daemon=True)
        self.report = ServerReport()
        self.due_s = time.monotonic()
        self._monitor = monitor
        self.server = server
        self._stop_event = stop
        self._heartbeat = heartbeat
        self._news = news

    def run(self) -> None:
        """Tick on the monotonic clock; ticks that a long reading has missed are counted, not made up for."""
        due_s = self.due_s
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
            self.due_s = due_s
            self._news.set()
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
