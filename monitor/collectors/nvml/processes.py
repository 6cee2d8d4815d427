"""The processes on a GPU: the driver's lists, joined with what /proc has on each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

from pylon.monitor.collectors.nvml.driver import Driver, DriverError, Handle, available
from pylon.monitor.collectors.processes.ids import ProcessFacts, ProcessTable
from pylon.monitor.status import GPUProcess

_COMPUTE = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2")
_GRAPHICS = ("nvmlDeviceGetGraphicsRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses_v2")


@dataclass(frozen=True, slots=True)
class ProcessLookup:
    """What is known of a process by its pid.

    Attributes:
        is_of_run: whether a pid belongs to the run.
        table: finds name, command and owner.
    """

    is_of_run: Callable[[int], bool]
    table: ProcessTable


def processes_of(driver: Driver, handle: Handle, lookup: ProcessLookup) -> list[GPUProcess]:
    """The processes that hold memory of a GPU or MIG instance.

    Raises:
        DriverError: the driver does not list them. Lists of graphics processes may be unsupported
            although those of compute processes are not (as with MIG); the latter are enough then.
    """
    compute = _rows(driver, _COMPUTE, handle)
    try:
        graphics = _rows(driver, _GRAPHICS, handle)
    except DriverError as error:
        if not error.for_good:
            raise
        graphics = []
    return _joined(compute, graphics, lookup)


def _rows(driver: Driver, calls: tuple[str, str], handle: Handle) -> list[Any]:
    try:
        return list(driver.call(calls[0], handle))
    except DriverError as error:
        if not error.for_good:
            raise
        # Drivers before 510 have only the second version of the call.
        return list(driver.call(calls[1], handle))


def _joined(compute: list[Any], graphics: list[Any], lookup: ProcessLookup) -> list[GPUProcess]:
    """One entry per process and MIG instance: a process that computes and draws is in both lists."""
    used: dict[tuple[int, int], list[int]] = {}
    for row in (*compute, *graphics):
        amounts = used.setdefault(_key(row), [])
        # pynvml gives None if the driver does not know, which is not 0.
        if row.usedGpuMemory is not None and available(row.usedGpuMemory) is not None:
            amounts.append(int(row.usedGpuMemory))
    computing, drawing = {_key(row) for row in compute}, {_key(row) for row in graphics}
    processes = []
    for (pid, instance), amounts in used.items():
        facts = lookup.table.find(pid)
        in_doubt = facts is None and not lookup.table.shares_machines_pids
        facts = facts or ProcessFacts()
        processes.append(
            GPUProcess(
                pid=pid,
                memory_used_bytes=max(amounts, default=None),
                compute=(pid, instance) in computing,
                graphics=(pid, instance) in drawing,
                gpu_instance_id=None if available(instance) is None else instance,
                name=facts.name,
                command=facts.command,
                owner_uid=facts.owner_uid,
                owner_name=facts.owner_name,
                of_run=None if in_doubt else lookup.is_of_run(pid),
            )
        )
    return processes


def _key(row: Any) -> tuple[int, int]:  # noqa: ANN401 - pynvml has no types
    return row.pid, getattr(row, "gpuInstanceId", pynvml.NVML_VALUE_NOT_AVAILABLE_uint.value)
