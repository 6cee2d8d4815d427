"""A sample and the statistics of the last ones, as a status: for this machine and for servers."""

from dataclasses import replace
from typing import Any

from pylon.monitor.status.cpu import CPUSample, CPUStatus
from pylon.monitor.status.gpu import GPUSample, GPUStatus
from pylon.monitor.status.values import WindowStats
from pylon.monitor.status.window import Window


class CPUWindows:
    """The last samples of one host.

    Args:
        size: readings that statistics go over.
    """

    def __init__(self, size: int) -> None:
        self._cpu_percent = Window(size)
        self._memory_used_bytes = Window(size)
        self._run_cpu_percent = Window(size)
        self._run_rss_bytes = Window(size)

    def status(self, sample: CPUSample) -> CPUStatus:
        """`sample` with the statistics that it is the newest of."""
        run = sample.run
        return CPUStatus(
            sample,
            self._cpu_percent.add(sample.cpu_percent),
            self._memory_used_bytes.add(sample.memory_used_bytes),
            self._run_cpu_percent.add(None if run is None else run.cpu_percent),
            self._run_rss_bytes.add(None if run is None else run.rss_bytes),
        )


class GPUWindows:
    """The last samples of the GPUs of one host, by UUID.

    Args:
        size: readings that statistics go over.
    """

    _FIELDS = ("utilization_percent", "memory_used_bytes", "temperature_c", "power_w")

    def __init__(self, size: int) -> None:
        self._size = size
        self._windows: dict[str, dict[str, Window]] = {}
        self._stats: dict[str, dict[str, WindowStats]] = {}

    def add(self, sample: GPUSample) -> None:
        """Add the newest sample of one GPU."""
        if sample.uuid not in self._windows:
            self._windows[sample.uuid] = {name: Window(self._size) for name in self._FIELDS}
        windows = self._windows[sample.uuid]
        self._stats[sample.uuid] = {
            name: window.add(getattr(sample, name)) for name, window in windows.items()
        }

    def forget(self, uuid: str) -> None:
        """Drop the samples of one GPU."""
        self._windows.pop(uuid, None)
        self._stats.pop(uuid, None)

    def status(self, status: GPUStatus) -> GPUStatus:
        """`status` with the statistics of each of its GPUs, whose samples have been added."""
        of_gpus = {gpu.uuid: self._stats[gpu.uuid] for gpu in status.gpus}
        by_field: dict[str, Any] = {
            name: {uuid: stats[name] for uuid, stats in of_gpus.items()} for name in self._FIELDS
        }
        return replace(status, **by_field)
