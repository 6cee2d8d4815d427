"""The host's busiest processes: who else uses the machine."""

import os
import pwd
import resource
from collections.abc import Mapping, Set

import psutil

from pylon.monitor.collectors.kernel_files import ProcessStat
from pylon.monitor.collectors.processes.ids import PatientLookup
from pylon.monitor.status.cpu import TopProcess

MOST_PROCESSES = 10
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = resource.getpagesize()


class TopProcesses:
    """Compares lists of all processes.

    Args:
        most: how many it names; half of them for CPU time, the rest for memory.
    """

    def __init__(self, most: int = MOST_PROCESSES) -> None:
        self._most = most
        self._former: tuple[float, dict[tuple[int, int], int]] | None = None
        # A user data base on the network may not answer.
        self._user_names = PatientLookup(_user_name)
        self._uids: dict[tuple[int, int], int | None] = {}

    def rank(
        self, now_s: float, stats: Mapping[int, ProcessStat], of_run: Set[int]
    ) -> tuple[TopProcess, ...]:
        """Those that used most CPU since the list before, and of the others those that hold most memory.

        Args:
            now_s: monotonic time of the list.
            stats: all processes.
            of_run: pids of the run's.
        """
        former = self._former
        self._former = (now_s, {(one.pid, one.started_ticks): one.cpu_ticks for one in stats.values()})
        elapsed_s, used = 0.0, dict[int, int]()
        if former is not None and now_s > former[0]:
            elapsed_s = now_s - former[0]
            both = self._former[1].keys() & former[1].keys()
            used = {key[0]: self._former[1][key] - former[1][key] for key in both}
        by_cpu = sorted((pid for pid in used if used[pid] > 0), key=lambda pid: -used[pid])[: self._most // 2]
        others = [one for one in stats.values() if one.pid not in by_cpu]
        by_memory = sorted(others, key=lambda one: -one.rss_pages)[: self._most - len(by_cpu)]
        chosen = [stats[pid] for pid in by_cpu] + by_memory
        keys = [(one.pid, one.started_ticks) for one in chosen]
        # The same processes lead the list for long.
        self._uids = {key: self._uids[key] if key in self._uids else _uid(key[0]) for key in keys}
        return tuple(
            TopProcess(
                pid=one.pid,
                name=_printable(one.name),
                user=self._user(self._uids[one.pid, one.started_ticks]),
                cpu_percent=100.0 * used[one.pid] / _TICKS_PER_S / elapsed_s if one.pid in used else None,
                rss_bytes=one.rss_pages * _PAGE_BYTES,
                of_run=one.pid in of_run,
            )
            for one in chosen
        )

    def _user(self, uid: int | None) -> str | None:
        return None if uid is None else self._user_names(uid) or str(uid)


def _uid(pid: int) -> int | None:
    try:
        return psutil.Process(pid).uids().real
    except (psutil.Error, OSError, ValueError):
        return None


def _printable(name: bytes) -> str:
    """A process chooses its name itself: nothing in it may steer a terminal or break a log line."""
    text = name.decode("utf-8", errors="replace")
    return "".join(one if one.isprintable() else "?" for one in text)


def _user_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
