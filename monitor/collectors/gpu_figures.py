"""A GPU's figures and its users: what is the same for NVML on this machine and nvidia-smi on a server."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pylon.monitor.status.gpu import MOST_PROCESSES, GPUProcess, GPUSample
from pylon.monitor.status.values import Absence, origins

# Kept when a GPU goes: what it is does not change.
IDENTITY_FIELDS = ("name", "pci_bus_id")
MEASURED_FIELDS = frozenset(origins(GPUSample)) - {"uuid", "index", *IDENTITY_FIELDS}
# Shares of time. Drivers now and then give 4294967295 or some thousands for one (NVIDIA/DCGM#199).
_SHARES = ("utilization_percent", "memory_busy_percent")
USER_FIELDS = ("processes", "run_memory_used_bytes", "others_memory_used_bytes")


@dataclass(slots=True)
class Figures:
    """Values by field of GPUSample, and the reasons of those that are absent."""

    values: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, Absence] = field(default_factory=dict)

    def put(self, name: str, value: Any) -> None:  # noqa: ANN401 - any field's type, or an Absence
        """Note a value, or the reason why there is none: also if it makes no sense."""
        if isinstance(value, Absence):
            self.absent[name] = value
        elif name in _SHARES and not 0 <= value <= 100:
            self.absent[name] = Absence.UNREACHABLE
        else:
            self.values[name] = value


def put_users(figures: Figures, processes: Iterable[GPUProcess]) -> int:
    """Note the processes of a GPU and the memory that they hold; how many are left out of the list."""
    ordered = _in_order(processes)
    figures.put("processes", tuple(ordered[:MOST_PROCESSES]))
    figures.put("run_memory_used_bytes", _memory_of(ordered, of_run=True))
    figures.put("others_memory_used_bytes", _memory_of(ordered, of_run=False))
    return max(0, len(ordered) - MOST_PROCESSES)


def _in_order(processes: Iterable[GPUProcess]) -> list[GPUProcess]:
    """Those of the run first, then by memory, the unknown last."""
    return sorted(processes, key=lambda one: (not one.of_run, -(one.memory_used_bytes or 0), one.pid))


def _memory_of(processes: list[GPUProcess], *, of_run: bool) -> int | Absence:
    """Bytes that processes of the run hold, or those of others; UNSUPPORTED if one of them is unknown."""
    amounts = [one.memory_used_bytes for one in processes if one.of_run is of_run]
    if any(one.of_run is None for one in processes) or None in amounts:
        return Absence.UNSUPPORTED
    return sum(amount for amount in amounts if amount is not None)
