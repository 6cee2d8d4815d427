"""Xid errors that the driver reports while a session is open: no field of a GPU shows them."""

import ctypes
from collections import deque
from collections.abc import Iterable
from typing import Any

import pynvml

from pylon.monitor.collectors.nvml.device import Device
from pylon.monitor.collectors.nvml.driver import Driver, DriverError
from pylon.monitor.status import XidEvent

# A millisecond is the shortest wait that no binding takes for one without a limit.
_WAIT_MS = 1
# A GPU that fails reports one after the other; the driver keeps what is left for the next reading.
_MOST_PER_READING = 8
_KEPT = 16


class XidEvents:
    """The newest Xid errors, over all sessions.

    What the driver cannot report (a part of a GPU, a virtual GPU, an old driver) is never asked for again in
    the same session. It reports what happens while a session is open, and nothing of before.

    Args:
        driver: the open session.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._set: Any = None
        # Address of a GPU's handle by its UUID; None: it reports nothing.
        self._registered: dict[str, int | None] = {}
        self._refused = False
        self._events: deque[XidEvent] = deque(maxlen=_KEPT)

    @property
    def newest(self) -> tuple[XidEvent, ...]:
        """By time; at most 16."""
        return tuple(self._events)

    def begin_session(self) -> None:
        """Forget the former session: its set is gone with it."""
        self._set, self._registered, self._refused = None, {}, False

    def end_session(self) -> None:
        """Give the set back. Never raises."""
        events, self._set = self._set, None
        if events is None:
            return
        try:
            self._driver.call("nvmlEventSetFree", events)
        except DriverError:
            # The session was over on the driver's side already.
            return

    def read(self, devices: Iterable[Device], now: float, wall_time_s: float) -> None:
        """Take what the driver has reported since the last reading.

        Args:
            devices: all GPUs of the session.
            now, wall_time_s: when.

        Raises:
            DriverError: the session is over.
        """
        self._register(devices)
        if self._refused or not any(self._registered.values()):
            return
        for _ in range(_MOST_PER_READING):
            try:
                event = self._driver.call("nvmlEventSetWait_v2", self._set, _WAIT_MS)
            except DriverError as error:
                if error.session_over:
                    raise
                # Most often: nothing has happened.
                self._refused = self._refused or error.for_good
                return
            of = _address(event.device)
            uuid = next((uuid for uuid, address in self._registered.items() if address == of), None)
            self._events.append(XidEvent(now, wall_time_s, uuid, int(event.eventData)))

    def _register(self, devices: Iterable[Device]) -> None:
        for device in devices:
            if self._refused or device.handle is None or device.uuid in self._registered:
                continue
            self._registered[device.uuid] = None
            try:
                if self._set is None:
                    self._set = self._driver.call("nvmlEventSetCreate")
                self._driver.call(
                    "nvmlDeviceRegisterEvents", device.handle, pynvml.nvmlEventTypeXidCriticalError, self._set
                )
            except DriverError as error:
                if error.session_over:
                    raise
                self._refused = self._set is None
                continue
            self._registered[device.uuid] = _address(device.handle)


def _address(handle: Any) -> int:  # noqa: ANN401 - pynvml has no types
    """What a handle points to: that of an event is another object than that of its GPU."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
