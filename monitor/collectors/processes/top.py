"""The host's busiest processes: who else uses the machine."""

from collections.abc import Mapping, Set

import psutil

from pylon.monitor.collectors.host_figures import busiest
from pylon.monitor.collectors.proc import PAGE_BYTES, TICKS_PER_S, ProcessStat
from pylon.monitor.collectors.processes.ids import PatientLookup, user_name
from pylon.monitor.status.cpu import MOST_PROCESSES, TopProcess
from pylon.monitor.text import printable


class TopProcesses:
    """Compares lists of all processes.

    Args:
        most: how many it names; half of them for CPU time, the rest for memory.
    """

    def __init__(self, most: int = MOST_PROCESSES) -> None:
        self._most = most
        self._former: tuple[float, dict[tuple[int, int], int]] | None = None
        # A user data base on the network may not answer.
        self._user_names = PatientLookup(user_name)
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
        chosen = busiest(
            stats.values(), lambda one: used.get(one.pid, 0), lambda one: one.rss_pages, self._most
        )
        keys = [(one.pid, one.started_ticks) for one in chosen]
        # The same processes lead the list for long.
        self._uids = {key: self._uids[key] if key in self._uids else _uid(key[0]) for key in keys}
        return tuple(
            TopProcess(
                pid=one.pid,
                name=printable(one.name.decode("utf-8", errors="replace")),
                user=self._user(self._uids[one.pid, one.started_ticks]),
                cpu_percent=100.0 * used[one.pid] / TICKS_PER_S / elapsed_s if one.pid in used else None,
                rss_bytes=one.rss_pages * PAGE_BYTES,
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
