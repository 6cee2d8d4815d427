"""GPUs through NVML: when they are read, in tiers and within a budget of calls into the driver.

collector   when: sessions, tiers, budget        fields      the queries
inventory   which GPUs, found again by UUID      processes   their users
device      one GPU and its fields               mig         their parts
driver      the door to pynvml                   events      Xid errors
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pylon.monitor.collectors.nvml.driver import Driver, DriverError
from pylon.monitor.collectors.nvml.events import XidEvents
from pylon.monitor.collectors.nvml.fields import FAST
from pylon.monitor.collectors.nvml.inventory import Inventory
from pylon.monitor.collectors.nvml.processes import ProcessLookup
from pylon.monitor.collectors.processes.ids import ProcessTable
from pylon.monitor.status import Absence, GPUStatus
from pylon.monitor.status.windows import GPUWindows

FAST_CALLS_PER_GPU = len(FAST)
DEFAULT_SLOW_INTERVAL_S = 10.0
DEFAULT_MAX_CALLS_PER_TICK = 96

_LOOK_FOR_DRIVER_EVERY_S = 10.0
# Opening the driver again and again leaks in it or upsets it (NVIDIA/cuCascade#138), and some
# faults are not cured by it: so there are pauses, and longer ones as long as it does not help.
_SHORTEST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why there is no session; both None if there is one."""

    absence: Absence | None = None
    message: str | None = None


class NVMLCollector:
    """Reads the GPUs of this machine.

    Utilisation, memory, temperature, power, energy and clocks are read at every `collect`: at most
    FAST_CALLS_PER_GPU calls each. All else is read every `slow_interval_s`, one GPU after the other
    as far as `max_calls_per_tick` allows, and one GPU at least. So a tick takes no more calls than
    that, or than the fast ones and one GPU's slow ones, whichever is more, besides those that open
    the driver. If the budget is small, slow fields come later rather than more calls in one tick.

    Args:
        is_of_run: whether a pid belongs to the watched run, for its share of a GPU.
        visible_devices: value of CUDA_VISIBLE_DEVICES; None: not set.
        window_size: readings that statistics go over.
        slow_interval_s: seconds between readings of the slow fields.
        max_calls_per_tick: calls into the driver.
        table: finds name, command and owner of a process.
        clock, wall_clock: seconds.
    """

    def __init__(
        self,
        is_of_run: Callable[[int], bool],
        visible_devices: str | None,
        window_size: int,
        *,
        slow_interval_s: float = DEFAULT_SLOW_INTERVAL_S,
        max_calls_per_tick: int = DEFAULT_MAX_CALLS_PER_TICK,
        table: ProcessTable | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._slow_interval_s = slow_interval_s
        self._max_calls_per_tick = max_calls_per_tick
        self._lookup = ProcessLookup(is_of_run, table or ProcessTable())
        self._clock = clock
        self._wall_clock = wall_clock
        self._driver = Driver()
        self._inventory = Inventory(self._driver, visible_devices)
        self._xid_events = XidEvents(self._driver)
        self._windows = GPUWindows(window_size)
        self._versions: tuple[str | None, str | None] = (None, None)
        self._open_from_s = float("-inf")
        self._pause_s = _SHORTEST_PAUSE_S
        self._trouble = _Trouble()
        self._released = False
        self._close_asked = False
        # Held during calls into the driver. `collect` alone waits for it: see `close`.
        self._turn = threading.Lock()

    def collect(self) -> GPUStatus:
        """One reading of all GPUs; the first one opens the driver.

        Never raises for what the driver does. A field that cannot be read is absent with its reason
        and costs no other; so does a GPU. Without a driver the status is empty and gives the reason, and
        the driver is looked for again every 10 s.
        """
        with self._turn:
            try:
                return self._collect()
            finally:
                if self._close_asked or self._released:
                    self._close()

    def close(self) -> None:
        """Close the driver; the next `collect` opens it again.

        Does not wait for a reading that is under way, since the driver may hang in it: the driver is
        then closed at its end.
        """
        self._close_asked = True
        if not self._turn.acquire(blocking=False):
            return
        try:
            self._close()
        finally:
            self._turn.release()

    def release(self) -> None:
        """Close the driver until `resume`, so that a GPU can be reset or divided.

        Returns at once: the driver is closed by the reading that is under way, or by the next one.
        Until `resume`, `collect` gives a status that is 'released' and calls nothing.
        """
        self._released = True

    def resume(self) -> None:
        """Read again from the next `collect` on."""
        self._released = False

    def _close(self) -> None:
        self._close_asked = False
        self._end_session(_Trouble(Absence.UNREACHABLE, "closed on request"))
        # It was requested: opening again at once is no repeated attempt.
        self._open_from_s, self._pause_s = float("-inf"), _SHORTEST_PAUSE_S

    def _collect(self) -> GPUStatus:
        now, before = self._clock(), self._driver.calls
        if self._released:
            return GPUStatus(now, self._wall_clock(), absence=Absence.UNREACHABLE, released=True)
        if self._inventory.hides_all:
            # The run uses no GPU: an open driver would only keep them awake.
            return GPUStatus(now, self._wall_clock())
        # A driver that has forgotten us is opened once more in the same tick, if it is time for that.
        if not (self._opened(now) and self._read(now)) and self._opened(now):
            self._read(now)
        return self._status(now, self._driver.calls - before)

    def _opened(self, now: float) -> bool:
        """Whether there is a session; begins one if there is none and an attempt is due."""
        if self._driver.is_open:
            return True
        if now < self._open_from_s:
            return False
        self._open_from_s = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        try:
            self._driver.open()
            self._xid_events.begin_session()
            self._inventory.enumerate()
            self._versions = (self._driver_version(), self._cuda_version())
        except DriverError as error:
            self._driver.close()
            absence = error.absence
            if error.no_driver:
                self._open_from_s = now + _LOOK_FOR_DRIVER_EVERY_S
                self._pause_s = _SHORTEST_PAUSE_S
                absence = Absence.LOST if self._inventory.shown else Absence.UNSUPPORTED
            self._trouble = _Trouble(absence, str(error))
            return False
        self._trouble = _Trouble()
        return True

    def _read(self, now: float) -> bool:
        """Read the GPUs; False if the session has ended by that."""
        before = self._driver.calls
        try:
            self._look_for_missing(now)
            devices = self._inventory.shown
            self._xid_events.read(devices, now, self._wall_clock())
            for device in devices:
                if device.handle is not None:
                    device.read_fast()
            if any(device.handle_bad for device in devices):
                if now >= self._open_from_s:
                    self._end_session(_Trouble(Absence.UNREACHABLE, "handles are not good any more"))
                    return False
            else:
                self._pause_s = _SHORTEST_PAUSE_S
            self._read_slowly(now, before)
        except DriverError as error:
            self._end_session(_Trouble(error.absence, str(error)))
            return False
        return True

    def _look_for_missing(self, now: float) -> None:
        """Ask for one GPU that the driver counts and gave no handle for, if there is one, now and then."""
        for device in list(self._inventory.shown):
            if device.handle is None and device.index is not None and now >= device.slow_due_s:
                self._inventory.look_again(device)
                if device.handle is None:
                    device.slow_due_s = now + self._slow_interval_s
                return

    def _read_slowly(self, now: float, calls_before: int) -> None:
        due = [device for device in self._inventory.shown if device.answering and now >= device.slow_due_s]
        for place, device in enumerate(sorted(due, key=lambda one: one.slow_due_s)):
            spent = self._driver.calls - calls_before
            if place and spent + device.slow_calls > self._max_calls_per_tick:
                return
            device.read_slow(now, self._slow_interval_s, self._lookup)

    def _end_session(self, trouble: _Trouble) -> None:
        if self._driver.is_open:
            self._xid_events.end_session()
        self._driver.close()
        self._trouble = trouble

    def _driver_version(self) -> str | None:
        try:
            return str(self._driver.call("nvmlSystemGetDriverVersion"))
        except DriverError as error:
            if error.session_over:
                raise
            return None

    def _cuda_version(self) -> str | None:
        try:
            version = self._driver.call("nvmlSystemGetCudaDriverVersion")
        except DriverError as error:
            if error.session_over:
                raise
            return None
        return f"{version // 1000}.{version % 1000 // 10}"

    def _status(self, now: float, calls: int) -> GPUStatus:
        samples = [device.sample(self._trouble.absence) for device in self._inventory.shown]
        for sample in samples:
            self._windows.add(sample)
        status = GPUStatus(
            monotonic_s=now,
            wall_time_s=self._wall_clock(),
            gpus=tuple(samples),
            driver_version=self._versions[0],
            cuda_version=self._versions[1],
            absence=self._trouble.absence,
            error=self._trouble.message,
            driver_calls=calls,
            xid_events=self._xid_events.newest,
        )
        return self._windows.status(status)
