"""The run's process and its descendants: who they are, found rarely, and how they do, read often."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import psutil

from pylon.monitor.collectors.attempts import reason
from pylon.monitor.collectors.counters import Meter
from pylon.monitor.collectors.proc import (
    PAGE_BYTES,
    TICKS_PER_S,
    ProcessStat,
    process_ids,
    process_stat,
    process_stats,
)
from pylon.monitor.collectors.processes.pss import PssReader
from pylon.monitor.status.cpu import ProcessTreeSample
from pylon.monitor.status.values import Absence, value_or_none

# A process's pid and start time: pids are used again.
Identity = tuple[int, int]


class ProcessTree:
    """Finds and reads the processes of a run.

    Args:
        run_pid: the run's first process.
        left_out_pid: a process that is left out with its descendants; None: none.
        pss: reads proportional set sizes.
        proc_root: '/proc', or a recorded tree. I/O, descriptors and PSS come from psutil, from '/proc'.
    """

    def __init__(self, run_pid: int, left_out_pid: int | None, pss: PssReader, proc_root: Path) -> None:
        self._run_pid = run_pid
        self._left_out_pid = left_out_pid
        self._pss = pss
        self._proc_root = str(proc_root)
        self._members: dict[int, int] = {}
        self._handles: dict[Identity, psutil.Process] = {}
        self._looked_at: set[int] = set()
        self._run_started: int | None = None
        self._cpu = Meter[Identity]()
        self._io_read = Meter[Identity]()
        self._io_written = Meter[Identity]()
        self._open_files: int | Absence = Absence.STARTING
        self._files_denied = 0

    @property
    def pids(self) -> set[int]:
        """The processes known to belong to the run."""
        return set(self._members)

    def find_new(self) -> None:
        """Look at the processes that were not there the last time.

        The list of all costs little; to ask each who its parent is was the main cost of this monitor.
        """
        try:
            present = process_ids(self._proc_root)
        except OSError:
            return
        self.find(process_stats(self._proc_root, present - self._looked_at))
        self._looked_at = present

    def find_all(self) -> dict[int, ProcessStat]:
        """Look at every process, also if its pid was used again since; returns what was read."""
        try:
            present = process_ids(self._proc_root)
        except OSError:
            return {}
        stats = process_stats(self._proc_root, present)
        self.find(stats)
        self._looked_at = present
        return stats

    def find(self, stats: Mapping[int, ProcessStat]) -> None:
        """Add those of `stats` that descend from the run, and not from what is left out."""
        children: dict[int, list[ProcessStat]] = {}
        for stat in stats.values():
            children.setdefault(stat.parent_pid, []).append(stat)
        parents = list(self._members.items())
        while parents:
            pid, started = parents.pop()
            for child in children.get(pid, ()):
                # A child older than its parent: the parent's pid is another process's by now.
                if child.pid == self._left_out_pid or child.started_ticks < started:
                    continue
                if self._members.get(child.pid) != child.started_ticks:
                    self._members[child.pid] = child.started_ticks
                    parents.append((child.pid, child.started_ticks))

    def locate_run(self) -> Absence | None:
        """Why there is no run to read; None if there is one."""
        try:
            stat = process_stat(self._proc_root, self._run_pid)
        except (OSError, ValueError) as error:
            return Absence.LOST if isinstance(error, FileNotFoundError) else reason(error)
        if self._run_started is None and not stat.ended:
            self._run_started = stat.started_ticks
            self._members[self._run_pid] = stat.started_ticks
        return Absence.LOST if stat.ended or stat.started_ticks != self._run_started else None

    def read(self, now_s: float, *, slow: bool) -> ProcessTreeSample | Absence:
        """One reading of those that are known, after `locate_run` found the run.

        Args:
            now_s: monotonic time.
            slow: count descriptors too. Otherwise they are the former ones.
        """
        living, zombies = self._living()
        if not living:
            return Absence.LOST
        handles = [self._handle(one) for one in living]
        if slow:
            self._open_files, self._files_denied = _open_files(handles)
        read, written, io_denied = self._io_rates(now_s, living, handles)
        pss = self._pss.read(now_s, [one.pid for one in living])
        absent: dict[str, Absence] = {}
        busy = self._cpu.rate(now_s, {_identity(one): one.cpu_ticks for one in living})
        cpu_percent = busy if isinstance(busy, Absence) else 100.0 * busy / TICKS_PER_S
        return ProcessTreeSample(
            cpu_percent=value_or_none(absent, cpu_percent, "cpu_percent"),
            rss_bytes=sum(one.rss_pages for one in living) * PAGE_BYTES,
            pss_bytes=value_or_none(absent, pss.pss_bytes, "pss_bytes"),
            pss_monotonic_s=pss.monotonic_s,
            processes=len(living),
            threads=sum(one.threads for one in living),
            zombies=zombies,
            open_files=value_or_none(absent, self._open_files, "open_files"),
            read_bytes_per_s=value_or_none(absent, read, "read_bytes_per_s"),
            write_bytes_per_s=value_or_none(absent, written, "write_bytes_per_s"),
            processes_denied=max(io_denied, self._files_denied, pss.denied),
            absent=absent,
        )

    def _living(self) -> tuple[list[ProcessStat], int]:
        """Members that have not ended, and how many ended ones their parent has not yet waited for."""
        stats = process_stats(self._proc_root, self.pids)
        present = {pid: stat for pid, stat in stats.items() if stat.started_ticks == self._members[pid]}
        self._members = {pid: stat.started_ticks for pid, stat in present.items()}
        self._handles = {key: handle for key, handle in self._handles.items() if key[0] in present}
        living = [stat for stat in present.values() if not stat.ended]
        return living, len(present) - len(living)

    def _handle(self, stat: ProcessStat) -> psutil.Process | None:
        key = _identity(stat)
        if key not in self._handles:
            try:
                self._handles[key] = psutil.Process(stat.pid)
            except psutil.Error:
                return None
        return self._handles[key]

    def _io_rates(
        self, now_s: float, living: list[ProcessStat], handles: list[psutil.Process | None]
    ) -> tuple[float | Absence, float | Absence, int]:
        """Bytes read and written per second, and how many processes do not show theirs."""
        read: dict[Identity, float] = {}
        written: dict[Identity, float] = {}
        lack, denied = Absence.UNSUPPORTED, 0
        for stat, handle in zip(living, handles, strict=True):
            counters = _asked(handle, _io_bytes)
            if isinstance(counters, Absence):
                lack = counters
                denied += counters is Absence.DENIED
                continue
            read[_identity(stat)], written[_identity(stat)] = counters
        if not read:
            return lack, lack, denied
        return self._io_read.rate(now_s, read), self._io_written.rate(now_s, written), denied


def _identity(stat: ProcessStat) -> Identity:
    return stat.pid, stat.started_ticks


def _asked(
    handle: psutil.Process | None, read: Callable[[psutil.Process], tuple[int, ...]]
) -> tuple[int, ...] | Absence:
    if handle is None:
        return Absence.LOST
    try:
        return read(handle)
    # psutil has no io_counters on kernels that do not count, and its parsers raise the rest.
    except (psutil.Error, OSError, AttributeError, ValueError, RuntimeError) as error:
        return reason(error)


def _io_bytes(process: psutil.Process) -> tuple[int, ...]:
    counters = process.io_counters()
    return counters.read_bytes, counters.write_bytes


def _file_count(process: psutil.Process) -> tuple[int, ...]:
    return (process.num_fds(),)


def _open_files(handles: Iterable[psutil.Process | None]) -> tuple[int | Absence, int]:
    """Descriptors of all together, and how many processes do not show theirs."""
    answers = [_asked(handle, _file_count) for handle in handles]
    counts = [one[0] for one in answers if not isinstance(one, Absence)]
    lacks = [one for one in answers if isinstance(one, Absence)]
    if counts:
        return sum(counts), lacks.count(Absence.DENIED)
    return next(iter(lacks), Absence.LOST), lacks.count(Absence.DENIED)
