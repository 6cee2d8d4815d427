"""The control group of a process of this machine.

In a container psutil gives the host's figures; what limits the run is here.
"""

import os
from pathlib import Path

from pylon.monitor.collectors.attempts import reason
from pylon.monitor.collectors.cgroup.figures import CgroupFigures
from pylon.monitor.collectors.cgroup.paths import Groups
from pylon.monitor.collectors.proc import content
from pylon.monitor.status.cpu import CgroupSample
from pylon.monitor.status.values import Absence, Side


class CgroupReader:
    """Reads the control group of one process; once that has ended, the group it was last seen in.

    Args:
        pid: the process.
        proc_root: '/proc', or a recorded tree.
        cgroup_root: '/sys/fs/cgroup', or a recorded tree.
    """

    def __init__(self, pid: int, proc_root: Path, cgroup_root: Path) -> None:
        self._process = f"{proc_root}/{pid}"
        self._root = str(cgroup_root)
        self._membership: bytes | None = None
        self._groups: Groups | None = None
        self._figures = CgroupFigures(_text, Side.LOCAL)

    def read(self, now_s: float, host_cores: int | None, *, slow: bool) -> CgroupSample | Absence:
        """One reading.

        Args:
            now_s: monotonic time.
            host_cores: cores that are online.
            slow: find the group again, and read limits, peak and pressure too. Otherwise those are
                the former ones.
        """
        lost = self._find() if slow or not self._is_there() else None
        if self._groups is None:
            return lost or Absence.UNSUPPORTED
        if self._groups.of("memory") is None and self._groups.of("cpu") is None:
            return Absence.UNSUPPORTED
        if not self._is_there():
            return Absence.LOST
        slow = slow or not self._figures.has_slow
        return self._figures.sample(now_s, host_cores, self._groups, slow=slow)

    def _is_there(self) -> bool:
        """Whether the group that was found has not been removed since."""
        if self._groups is None:
            return False
        group = self._groups.of("memory") or self._groups.of("cpu")
        return group is not None and os.path.isdir(group.own)  # noqa: PTH112 - a string, each second

    def _find(self) -> Absence | None:
        try:
            membership = content(f"{self._process}/cgroup")
        except OSError as error:
            there = os.path.exists(self._process)  # noqa: PTH110 - a string
            return reason(error) if there else Absence.LOST
        if membership != self._membership or not self._is_there():
            self._membership, self._groups = membership, Groups(membership, self._root)
            self._figures.forget_slow()
        return None


def _text(path: str) -> str | Absence:
    try:
        return content(path).decode("ascii", errors="replace")
    except OSError as error:
        return reason(error)
