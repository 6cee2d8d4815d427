"""Frames as statuses: the same fields, units and reasons for absence as a local monitor's."""

import time
from dataclasses import replace

from pylon.monitor.remote.far.frames import Frame
from pylon.monitor.remote.far.gpus import RemoteGPUs
from pylon.monitor.remote.far.host import RemoteHost
from pylon.monitor.remote.far.sections import parsed, system
from pylon.monitor.status.remote import RemoteStatus
from pylon.monitor.status.values import Absence
from pylon.monitor.status.windows import CPUWindows

# A clock of 10 ms that has the same value after this stands still.
_STILL_S = 2.0
_NO_USER = -1


class RemoteStatuses:
    """One server's frames, compared with each other, over all connections to it.

    Args:
        window_size: readings that statistics go over.
        all_commands: give the command lines of other users' GPU processes too.
    """

    def __init__(self, window_size: int, *, all_commands: bool = False) -> None:
        self._windows = CPUWindows(window_size)
        self._host = RemoteHost()
        self._gpus = RemoteGPUs(window_size)
        self._uptime_s: float | None = None
        self._clock_s: float | None = None
        self._clock_seen_s = 0.0
        self._system: dict[str, str] = {}
        self._all_commands = all_commands

    def build(
        self,
        frame: Frame,
        received_monotonic_s: float,
        *,
        received_wall_s: float | None = None,
        sent_monotonic_s: float | None = None,
    ) -> RemoteStatus:
        """The server's status after `frame`.

        Args:
            frame: the newest.
            received_monotonic_s: when it arrived: the time of the samples.
            received_wall_s: the same on the wall clock; None: now.
            sent_monotonic_s: when it was requested; without it there is no round trip, and the clock
                offset includes the way back.
        """
        wall_s = time.time() if received_wall_s is None else received_wall_s
        frame = self._with_sound_clock(frame, received_monotonic_s)
        self._notice_restart(frame)
        trip_s = None if sent_monotonic_s is None else max(0.0, received_monotonic_s - sent_monotonic_s)
        offset_s = None if frame.wall_time_s is None else frame.wall_time_s - wall_s + (trip_s or 0.0) / 2
        return RemoteStatus(
            cpu=self._windows.status(self._host.sample(frame, received_monotonic_s, wall_s)),
            gpu=self._gpus.status(frame, received_monotonic_s, wall_s, self._commands_of),
            clock_offset_s=offset_s,
            far_uptime_s=frame.uptime_s,
            round_trip_s=trip_s,
            hostname=self._system.get("hostname"),
            kernel=self._system.get("kernel"),
        )

    @property
    def _commands_of(self) -> int | None:
        """See `gpu_users`; without the own number there, those of no user."""
        own = self._system.get("uid", "")
        return None if self._all_commands else int(own) if own.isdecimal() else _NO_USER

    def _with_sound_clock(self, frame: Frame, received_s: float) -> Frame:
        """The frame; without its clock if that stands still: it gives no rate, and no age."""
        if frame.uptime_s is None or frame.uptime_s != self._clock_s:
            self._clock_s, self._clock_seen_s = frame.uptime_s, received_s
        elif received_s - self._clock_seen_s >= _STILL_S:
            return replace(frame, uptime_s=None)
        return frame

    def _notice_restart(self, frame: Frame) -> None:
        """Start again if the machine did: its counters have nothing to do with those of before."""
        found = parsed(frame.sections.get("system"), system)
        found = {} if isinstance(found, Absence) else found
        other = "boot" in found and found["boot"] != self._system.get("boot", found["boot"])
        back = None not in (frame.uptime_s, self._uptime_s) and (frame.uptime_s or 0) < (self._uptime_s or 0)
        if other or back:
            self._host = RemoteHost()
        self._system |= found
        self._uptime_s = frame.uptime_s
