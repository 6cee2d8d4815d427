"""What every thread-based subject reads: processors and memory by psutil, GPUs by pynvml."""

import time
from typing import Any

import psutil
import pynvml

from tests.shutdown.subjects.training import HUNG_AFTER_S


class Readings:
    """The newest sample, and since when a reading has been under way.

    Args:
        gpu: read the GPU driver too.
    """

    def __init__(self, *, gpu: bool) -> None:
        self.newest: dict[str, Any] | None = None
        self.handles: list[Any] = []
        self._gpu = gpu
        self._opened = False
        self._busy_since_s: float | None = None

    def take(self) -> None:
        """Read everything once."""
        self._busy_since_s = time.monotonic()
        if self._gpu and not self._opened:
            self.open()
        sample: dict[str, Any] = {
            "cpu_percent": psutil.cpu_percent(),
            "memory_used_bytes": psutil.virtual_memory().used,
            "gpu_percent": [pynvml.nvmlDeviceGetUtilizationRates(one).gpu for one in self.handles],
        }
        self.newest = sample
        self._busy_since_s = None

    def open(self) -> None:
        """Open the driver."""
        pynvml.nvmlInit()
        self.handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        self._opened = True

    def sampled(self) -> bool:
        return self.newest is not None

    def hung(self) -> bool:
        since_s = self._busy_since_s
        return self.sampled() and since_s is not None and time.monotonic() - since_s > HUNG_AFTER_S
