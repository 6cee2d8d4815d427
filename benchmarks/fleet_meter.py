"""What a running fleet monitor costs and gives: CPU, memory, samples, and the gaps between them."""

import contextlib
import itertools
import statistics
import threading
import time
from dataclasses import dataclass

import psutil

from pylon.monitor import SystemMonitor

_LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class Cost:
    """CPU seconds of all processes of a monitor and of its thread here, and their memory; at a time."""

    at_s: float
    cpu_s: float
    worker_cpu_s: float
    memory_bytes: int
    worker_memory_bytes: int
    processes: int


class Meter:
    """Looks at a running monitor from outside, and notes the time of every sample that reaches its user.

    Args:
        monitor: started.
        servers: whose samples count.
    """

    def __init__(self, monitor: SystemMonitor, servers: list[str]) -> None:
        self.monitor = monitor
        self.times: dict[str, list[float]] = {server: [] for server in servers}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._note, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()

    def wait_for_all(self, timeout_s: float) -> float:
        """Seconds until each server has been read; raises TimeoutError."""
        began_s = time.monotonic()
        while not all(self.times.values()):
            if time.monotonic() - began_s > timeout_s:
                missing = [server for server, times in self.times.items() if not times]
                health = {
                    server: str(one.last_error)
                    for name, shard in self.monitor.health().items()
                    for server, one in shard.servers.items()
                    if server in missing[:3]
                }
                raise TimeoutError(f"{len(missing)} servers were not read in {timeout_s:g} s: {health}")
            time.sleep(0.05)
        return time.monotonic() - began_s

    def cost(self) -> Cost:
        """What has been used so far."""
        host = psutil.Process(self._host_pid())
        cpu_s, memory, worker_cpu_s, worker_memory, count = _thread_cpu_s("pylon-monitor"), 0, 0.0, 0, 0
        for one in [host, *host.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                used_s, held = _process_cpu_s(one.pid), one.memory_full_info().uss
                cpu_s, memory, count = cpu_s + used_s, memory + held, count + 1
                if one.name().startswith("pylon-Remote"):
                    worker_cpu_s, worker_memory = worker_cpu_s + used_s, worker_memory + held
        return Cost(time.monotonic(), cpu_s, worker_cpu_s, memory, worker_memory, count)

    def gaps(self, since_s: float, until_s: float, servers: list[str] | None = None) -> list[float]:
        """Seconds between one sample of a server and its next, within a span, of all servers."""
        found = []
        for server in servers or list(self.times):
            times = [one for one in self.times[server] if since_s <= one < until_s]
            found += [later - former for former, later in itertools.pairwise(times)]
        return found

    def count(self, since_s: float, until_s: float, servers: list[str] | None = None) -> int:
        """Samples that were taken within a span."""
        chosen = servers or list(self.times)
        return sum(sum(since_s <= one < until_s for one in self.times[server]) for server in chosen)

    def _host_pid(self) -> int:
        pids = [one.pid for one in self.monitor.health().values() if one.pid is not None]
        return psutil.Process(pids[0]).ppid()

    def _note(self) -> None:
        while not self._ended.wait(_LOOK_EVERY_S):
            for server, seen in self.monitor.latest().cpu.items():
                times = self.times.get(server)
                measured_s = seen.measured_s
                if times is not None and measured_s is not None and (not times or measured_s > times[-1]):
                    times.append(measured_s)


def _process_cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process, exactly: /proc/PID/stat counts ticks of 10 ms."""
    # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of <linux/posix-timers.h>.
    return time.clock_gettime((~pid << 3) | 2)


def _thread_cpu_s(name: str) -> float:
    """CPU seconds of this process's thread of that name, likewise."""
    for thread in threading.enumerate():
        if thread.name == name and thread.ident is not None:
            return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return 0.0


def spread(values: list[float]) -> str:
    """Median, 99th percentile and largest, in seconds."""
    if len(values) < 2:
        return "-"
    percentiles = statistics.quantiles(values, n=100)
    return f"{percentiles[49]:.2f} / {percentiles[98]:.2f} / {max(values):.2f}"
