"""The monitor of NVIDIA GPUs."""

import os

from monitor.base_monitor import BaseMonitor, check_positive
from monitor.status import GPUStatus


class GPUMonitor(BaseMonitor[GPUStatus]):
    """Watches the GPUs that the run may use; quiet where there is no driver.

    Args:
        run_pid: process of the run, to tell its share of a GPU from others'; None: the process
            that starts the monitor.
        window_size: readings that statistics go over, at least 1.
        interval_s, timeout_s, join_timeout_s: see BaseMonitor.
    """

    def __init__(
        self,
        run_pid: int | None = None,
        *,
        window_size: int = 10,
        interval_s: float = 1.0,
        timeout_s: float = 5.0,
        join_timeout_s: float = 2.0,
    ) -> None:
        super().__init__(interval_s=interval_s, timeout_s=timeout_s, join_timeout_s=join_timeout_s)
        check_positive("window_size", window_size)
        self._run_pid = run_pid
        self._window_size = int(window_size)

    def _init_status_structures(self) -> None:
        # Imported here: the training process never loads the driver's library for its monitors.
        from monitor.collectors.nvml import NVMLCollector  # noqa: PLC0415
        from monitor.collectors.process_ids import descendants_of, parent_of  # noqa: PLC0415

        run_pid = self._run_pid or parent_of(os.getppid())
        self._collector = NVMLCollector(
            lambda: descendants_of(run_pid),
            os.environ.get("CUDA_VISIBLE_DEVICES"),
            self._window_size,
        )

    def _update_single_server(self, server: str) -> GPUStatus:  # noqa: ARG002 - there is one server
        return self._collector.collect()

    def _close(self) -> None:
        self._collector.close()
