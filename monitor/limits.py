"""What the monitors' own processes may use."""

import math
from dataclasses import dataclass

from pylon.monitor.errors import MonitorSettingError

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Limits of each process of a monitor. Over one, it reads less often; still over it, it is replaced.

    Attributes:
        cpu_share: CPU time in a second, in cores, above 0.
        memory_bytes: resident memory, at least 32 MiB. A process that takes four times as much
            at once gets no more from the kernel (RLIMIT_DATA).

    Raises:
        MonitorSettingError: an argument is out of range.
    """

    cpu_share: float = 0.5
    memory_bytes: int = 256 * _MIB

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cpu_share) and self.cpu_share > 0):
            raise MonitorSettingError(f"cpu_share: {self.cpu_share!r}, expected a number of cores above 0.")
        if self.memory_bytes < 32 * _MIB:
            raise MonitorSettingError(
                f"memory_bytes: {self.memory_bytes!r}, expected at least {32 * _MIB} (32 MiB):"
                " an idle process takes about 20."
            )
