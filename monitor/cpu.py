"""The monitor of processors, memory, disks, network and the run's own processes."""

import os

from pylon.monitor.base import BaseMonitor
from pylon.monitor.limits import ResourceLimits
from pylon.monitor.settings import ReadingSettings
from pylon.monitor.status import CPUStatus
from pylon.monitor.status.windows import CPUWindows


class CPUMonitor(BaseMonitor[CPUStatus]):
    """Watches this machine and the run on it.

    Args:
        run_pid: process of the run; None: the process that starts the monitor.
        window_size: readings that statistics go over, at least 1.
        slow_interval_s: seconds between readings of what costs more or changes rarely (limits, swap,
            descriptors, proportional set sizes, top processes), above 0.
        interval_s, timeout_s, join_timeout_s, limits: see BaseMonitor.
    """

    def __init__(
        self,
        run_pid: int | None = None,
        *,
        window_size: int = 10,
        slow_interval_s: float = 10.0,
        interval_s: float = 1.0,
        timeout_s: float = 5.0,
        join_timeout_s: float = 2.0,
        limits: ResourceLimits | None = None,
    ) -> None:
        super().__init__(
            interval_s=interval_s, timeout_s=timeout_s, join_timeout_s=join_timeout_s, limits=limits
        )
        self._reading = ReadingSettings(window_size, slow_interval_s)
        self._run_pid = run_pid

    def _init_status_structures(self) -> None:
        # Imported here: psutil is of no use in the training process.
        from pylon.monitor.collectors.cpu import CPUCollector  # noqa: PLC0415
        from pylon.monitor.collectors.processes.ids import parent_of  # noqa: PLC0415

        supervisor_pid = os.getppid()
        self._collector = CPUCollector(
            self._run_pid or parent_of(supervisor_pid),
            left_out_pid=supervisor_pid,
            slow_interval_s=self._reading.slow_interval_s,
        )
        self._windows = CPUWindows(self._reading.window_size)

    def _update_single_server(self, server: str) -> CPUStatus:  # noqa: ARG002 - there is one server
        return self._windows.status(self._collector.collect())
