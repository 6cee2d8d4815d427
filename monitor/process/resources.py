"""What the monitors' own processes use, and what follows when that is too much.

A monitor that eats the machine harms the run as surely as one that hangs it. So a process over its
limits first reads less often, and is replaced when that does not help.
"""

import resource

from pylon.monitor.collectors.proc import PAGE_BYTES, TICKS_PER_S, process_stat
from pylon.monitor.limits import ResourceLimits
from pylon.monitor.process.heartbeat import Heartbeat

_LOOK_EVERY_S = 1.0
# Starting costs more than running: modules are read, a driver is opened.
_AFTER_START_S = 5.0
_SLOWDOWN = 4.0
_STRIKES = 4
_SLOWED_FOR_S = 300.0
# A process that allocates faster than the supervisor looks is stopped by the kernel.
_HARD_FACTOR = 4


def cap_memory(limits: ResourceLimits) -> None:
    """Have the kernel refuse this process more than a multiple of its memory limit."""
    bytes_ = limits.memory_bytes * _HARD_FACTOR
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or hard > bytes_:
        resource.setrlimit(resource.RLIMIT_DATA, (bytes_, bytes_))


class LimitWatch:
    """Judges one life of one process by what it uses.

    Args:
        limits: what it may use.
        started_s: monotonic time of its start.
    """

    def __init__(self, limits: ResourceLimits, started_s: float) -> None:
        self.reason: str | None = None
        self.limit: str | None = None
        self._limits = limits
        self._looked_s = started_s
        self._quiet_until_s = started_s + _AFTER_START_S
        self._cpu_s: float | None = None
        self._strikes = 0
        self._slowed_s = 0.0

    def look(self, pid: int, heartbeat: Heartbeat, now: float) -> str | None:
        """Slow the process down or let it go faster again; why it must be replaced, None where not."""
        if now - self._looked_s < _LOOK_EVERY_S:
            return None
        over = self._over(pid, now)
        if over is not None:
            self._strikes += 1
            self._slowed_s = now
            self.limit, self.reason = over
            heartbeat.slowdown = _SLOWDOWN
            return self.reason if self._strikes >= _STRIKES else None
        self._strikes = 0
        if self.reason is not None and now - self._slowed_s > _SLOWED_FOR_S:
            self.limit = self.reason = None
            heartbeat.slowdown = 1.0
        return None

    def _over(self, pid: int, now: float) -> tuple[str, str] | None:
        """Which limit it is over, as ResourceLimits names it, and by how much; None if it is over none."""
        try:
            cpu_s, memory_bytes = _use(pid)
        except (OSError, ValueError):
            # It has just ended, which is noticed elsewhere.
            return None
        former, self._cpu_s = self._cpu_s, cpu_s
        span_s, self._looked_s = now - self._looked_s, now
        if memory_bytes > self._limits.memory_bytes:
            text = f"{memory_bytes >> 20} MiB of memory, limit {self._limits.memory_bytes >> 20} MiB"
            return "memory_bytes", text
        if former is None or now < self._quiet_until_s:
            return None
        share = (cpu_s - former) / span_s
        if share > self._limits.cpu_share:
            return "cpu_share", f"{share:.2f} of a core, limit {self._limits.cpu_share:g}"
        return None


def _use(pid: int) -> tuple[float, int]:
    """CPU seconds since its start, and resident bytes."""
    stat = process_stat("/proc", pid)
    return stat.cpu_ticks / TICKS_PER_S, stat.rss_pages * PAGE_BYTES
