"""What is exported at one moment."""

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from pylon.monitor import MonitorHealth
from pylon.views.sources.board import Runs
from pylon.views.sources.servers import ServerNow


@dataclass(frozen=True, slots=True)
class Picture:
    """Servers and runs at one moment. It never changes; its figures only age.

    Attributes:
        servers: those that are watched.
        runs: those that are known.
        monitors: health of the monitors' processes, by their name.
        at, monotonic_s: Unix and monotonic time of the picture.
        host: name of this machine, which a run's record has too.
    """

    servers: tuple[ServerNow, ...] = ()
    runs: Runs = field(default_factory=Runs)
    monitors: Mapping[str, MonitorHealth] = field(default_factory=dict)
    at: float = field(default_factory=time.time)
    monotonic_s: float = field(default_factory=time.monotonic)
    host: str = field(default_factory=platform.node)

    def unix_time(self, monotonic_s: float) -> float:
        """The Unix time of a monotonic one, to the millisecond: the same at each look."""
        return round(self.at + monotonic_s - self.monotonic_s, 3)
