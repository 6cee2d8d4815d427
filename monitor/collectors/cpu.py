"""Host, control group and the run's own processes: the door to psutil."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from monitor.collectors.cgroup import read_cgroup
from monitor.status import CPUSample, ProcessTreeSample

# Walking all processes is the main cost of a CPU monitor: who belongs to the run is asked rarely,
# how its members do every time.
_MEMBERS_EVERY_S = 5.0
# Utilisation over less than this is chance: the clock of /proc/stat ticks every 10 ms.
_SHORTEST_INTERVAL_S = 0.1


class CPUCollector:
    """Reads this machine.

    Args:
        run_pid: the watched run; its descendants belong to it.
        left_out_pid: the monitors' own process, which is left out of the run with all below it.
        proc_root, cgroup_root: roots of the kernel's trees for control groups.
        clock, wall_clock: seconds; the monotonic one gives rates.
    """

    def __init__(
        self,
        run_pid: int,
        left_out_pid: int | None = None,
        *,
        proc_root: Path = Path("/proc"),
        cgroup_root: Path = Path("/sys/fs/cgroup"),
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._run_pid = run_pid
        self._left_out_pid = left_out_pid
        self._proc_root = proc_root
        self._cgroup_root = cgroup_root
        self._clock = clock
        self._wall_clock = wall_clock
        self._members: dict[tuple[int, float], psutil.Process] = {}
        self._members_until_s = -1.0
        self._primed: set[tuple[int, float]] = set()
        self._counters: tuple[float, tuple[int, ...]] | None = None
        # psutil's first answer to cpu_percent is a meaningless 0.0: asked here, thrown away.
        psutil.cpu_percent(percpu=True)
        self._primed_s = clock()

    def collect(self) -> CPUSample:
        """One reading. Raises psutil.Error or OSError where the host itself cannot be read."""
        now = self._clock()
        cores = self._core_percent(now)
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        rates = self._rates(now)
        return CPUSample(
            monotonic_s=now,
            wall_time_s=self._wall_clock(),
            cpu_percent=sum(cores) / len(cores) if cores else None,
            core_percent=cores,
            load_1m=psutil.getloadavg()[0],
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            swap_used_bytes=swap.used,
            disk_read_bytes_per_s=rates[0],
            disk_write_bytes_per_s=rates[1],
            net_received_bytes_per_s=rates[2],
            net_sent_bytes_per_s=rates[3],
            cgroup=read_cgroup(self._run_pid, self._proc_root, self._cgroup_root),
            run=self._run_tree(now),
        )

    def _core_percent(self, now: float) -> tuple[float, ...] | None:
        if now - self._primed_s < _SHORTEST_INTERVAL_S:
            return None
        self._primed_s = now
        return tuple(psutil.cpu_percent(percpu=True))

    def _rates(self, now: float) -> tuple[float | None, ...]:
        disk, net = psutil.disk_io_counters(), psutil.net_io_counters()
        counters = (
            disk.read_bytes if disk else 0,
            disk.write_bytes if disk else 0,
            net.bytes_recv if net else 0,
            net.bytes_sent if net else 0,
        )
        former, self._counters = self._counters, (now, counters)
        if former is None or now <= former[0]:
            return (None,) * 4
        # A counter that went back (a device came or went) gives no rate, rather than a negative one.
        pairs = zip(counters, former[1], strict=True)
        return tuple((new - old) / (now - former[0]) if new >= old else None for new, old in pairs)

    def _run_tree(self, now: float) -> ProcessTreeSample | None:
        if now >= self._members_until_s:
            self._members_until_s = now + _MEMBERS_EVERY_S
            self._members = self._find_members()
        readings = [reading for key in self._members if (reading := self._read_member(key))]
        if not readings:
            return None
        known_cpu = [cpu for cpu, *_ in readings if cpu is not None]
        known_files = [files for *_, files in readings if files is not None]
        return ProcessTreeSample(
            cpu_percent=sum(known_cpu) if known_cpu else None,
            rss_bytes=sum(rss for _, rss, _, _ in readings),
            processes=len(readings),
            threads=sum(threads for _, _, threads, _ in readings),
            open_files=sum(known_files) if known_files else None,
        )

    def _read_member(self, key: tuple[int, float]) -> tuple[float | None, int, int, int | None] | None:
        reading = _read_process(self._members[key])
        if reading is None or key in self._primed:
            return reading
        # As with the host: the first CPU percentage of a process means nothing.
        self._primed.add(key)
        return None, *reading[1:]

    def _find_members(self) -> dict[tuple[int, float], psutil.Process]:
        members = {}
        for process in self._descendants():
            try:
                key = (process.pid, process.create_time())
            except psutil.NoSuchProcess:
                continue
            # A kept object remembers its last CPU times, which the next percentage counts from.
            members[key] = self._members.get(key, process)
        self._primed &= members.keys()
        return members

    def _descendants(self) -> Iterator[psutil.Process]:
        try:
            root = psutil.Process(self._run_pid)
            left_out = set() if self._left_out_pid is None else {self._left_out_pid}
            yield root
            for process in root.children(recursive=True):
                # Parents come before their children in psutil's list.
                if process.pid in left_out or process.ppid() in left_out:
                    left_out.add(process.pid)
                else:
                    yield process
        except psutil.NoSuchProcess:
            return


def _read_process(process: psutil.Process) -> tuple[float | None, int, int, int | None] | None:
    """CPU percent, resident bytes, threads, descriptors; None once the process is gone."""
    try:
        with process.oneshot():
            cpu, rss = process.cpu_percent(), process.memory_info().rss
            return cpu, rss, process.num_threads(), _open_files(process)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _open_files(process: psutil.Process) -> int | None:
    try:
        return process.num_fds()
    except psutil.AccessDenied:
        return None
