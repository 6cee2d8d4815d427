"""The monitor of NVIDIA GPUs."""

import os
from typing import TYPE_CHECKING

from pylon.monitor.base import BaseMonitor
from pylon.monitor.limits import ResourceLimits
from pylon.monitor.settings import ReadingSettings, require_boolean, require_count
from pylon.monitor.status import GPUStatus

if TYPE_CHECKING:
    from pylon.monitor.collectors.nvml.collector import NVMLCollector


class GPUMonitor(BaseMonitor[GPUStatus]):
    """Watches the GPUs that the run may use; quiet where there is no driver.

    Args:
        run_pid: process of the run, to tell apart its share of a GPU from that of others; None: the process
            that starts the monitor.
        window_size: readings that statistics go over, at least 1.
        slow_interval_s: seconds between readings of what costs the driver much or changes little:
            processes, PCIe throughput, ECC, fan, MIG, limits. Above 0.
        max_calls_per_tick: calls into the driver that one reading may take, at least 1. The 8 per
            GPU that each reading needs, the one for Xid errors, and the slow ones of one GPU, are made in any
            case.
        all_commands: give the command lines of other users' processes too.
        interval_s, timeout_s, join_timeout_s, limits: see BaseMonitor.
    """

    def __init__(
        self,
        run_pid: int | None = None,
        *,
        window_size: int = 10,
        slow_interval_s: float = 10.0,
        max_calls_per_tick: int = 96,
        all_commands: bool = False,
        interval_s: float = 1.0,
        timeout_s: float = 5.0,
        join_timeout_s: float = 2.0,
        limits: ResourceLimits | None = None,
    ) -> None:
        super().__init__(
            interval_s=interval_s, timeout_s=timeout_s, join_timeout_s=join_timeout_s, limits=limits
        )
        self._reading = ReadingSettings(window_size, slow_interval_s)
        require_count("max_calls_per_tick", max_calls_per_tick)
        self._all_commands = require_boolean("all_commands", all_commands)
        self._run_pid = run_pid
        self._max_calls_per_tick = max_calls_per_tick
        self._released = False
        self._collector: NVMLCollector | None = None

    def _init_status_structures(self) -> None:
        # Imported here: the training process never loads the driver's library for its monitors.
        from pylon.monitor.collectors.nvml.collector import NVMLCollector  # noqa: PLC0415
        from pylon.monitor.collectors.processes.ids import (  # noqa: PLC0415
            ProcessTable,
            RunProcesses,
            parent_of,
        )

        self._collector = NVMLCollector(
            RunProcesses(self._run_pid or parent_of(os.getppid())).owns,
            os.environ.get("CUDA_VISIBLE_DEVICES"),
            self._reading.window_size,
            slow_interval_s=self._reading.slow_interval_s,
            max_calls_per_tick=self._max_calls_per_tick,
            table=ProcessTable(all_commands=self._all_commands),
        )
        self._set_released(self._released)

    def _update_single_server(self, server: str) -> GPUStatus:  # noqa: ARG002 - there is one server
        if self._collector is None:
            raise RuntimeError("a GPU is read before _init_status_structures.")
        return self._collector.collect()

    def _set_released(self, released: bool) -> None:
        """Let go of the driver at the next reading at the latest, or take it up again; returns at once."""
        self._released = released
        if self._collector is None:
            return
        if released:
            self._collector.release()
        else:
            self._collector.resume()

    def _close(self) -> None:
        if self._collector is not None:
            self._collector.close()
