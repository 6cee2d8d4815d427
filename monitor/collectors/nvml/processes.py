"""Who uses a GPU: the driver's lists of processes, joined with what /proc knows of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pynvml

from pylon.monitor.collectors.nvml.driver import Driver, DriverError, known
from pylon.monitor.collectors.processes.ids import ProcessFacts, ProcessTable
from pylon.monitor.status import GPUProcess

MOST_PROCESSES = 64
_COMPUTE = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2")
_GRAPHICS = ("nvmlDeviceGetGraphicsRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses_v2")


@dataclass(frozen=True, slots=True)
class Watchers:
    """What tells the run's processes from others.

    Attributes:
        is_of_run: whether a pid belongs to the run.
        table: knows processes.
    """

    is_of_run: Callable[[int], bool]
    table: ProcessTable


def processes_of(driver: Driver, handle: Any, watchers: Watchers) -> list[GPUProcess]:  # noqa: ANN401
    """The processes that hold memory of a GPU or MIG instance; those of the run first, then the largest.

    Raises:
        DriverError: the driver does not tell them. Lists of graphics processes may be unsupported
            where those of compute processes are not (as with MIG); the latter are enough then.
    """
    compute = _rows(driver, _COMPUTE, handle)
    try:
        graphics = _rows(driver, _GRAPHICS, handle)
    except DriverError as error:
        if not error.for_good:
            raise
        graphics = []
    return in_order(_joined(compute, graphics, watchers))


def in_order(processes: Iterable[GPUProcess]) -> list[GPUProcess]:
    """Those of the run first, then by memory, the unknown last."""
    return sorted(processes, key=lambda one: (not one.of_run, -(one.memory_used_bytes or 0), one.pid))


def memory_of(processes: Iterable[GPUProcess], *, of_run: bool) -> int | None:
    """Bytes that processes of the run hold, or those of others; None where that cannot be told."""
    processes = list(processes)
    amounts = [one.memory_used_bytes for one in processes if one.of_run is of_run]
    if any(one.of_run is None for one in processes) or None in amounts:
        return None
    return sum(amount for amount in amounts if amount is not None)


def _rows(driver: Driver, calls: tuple[str, str], handle: Any) -> list[Any]:  # noqa: ANN401
    try:
        return list(driver.call(calls[0], handle))
    except DriverError as error:
        if not error.for_good:
            raise
        # Drivers before 510 have only the second version of the call.
        return list(driver.call(calls[1], handle))


def _joined(compute: list[Any], graphics: list[Any], watchers: Watchers) -> list[GPUProcess]:
    """One entry per process and MIG instance: a process that computes and draws is in both lists."""
    used: dict[tuple[int, int], list[int]] = {}
    for row in (*compute, *graphics):
        amounts = used.setdefault(_key(row), [])
        # pynvml gives None where the driver does not know, which is not 0.
        if row.usedGpuMemory is not None and known(row.usedGpuMemory) is not None:
            amounts.append(int(row.usedGpuMemory))
    computing, drawing = {_key(row) for row in compute}, {_key(row) for row in graphics}
    processes = []
    for (pid, instance), amounts in used.items():
        facts = watchers.table.find(pid)
        in_doubt = facts is None and not watchers.table.shares_machines_pids
        facts = facts or ProcessFacts()
        processes.append(
            GPUProcess(
                pid=pid,
                memory_used_bytes=max(amounts, default=None),
                compute=(pid, instance) in computing,
                graphics=(pid, instance) in drawing,
                gpu_instance_id=None if known(instance) is None else instance,
                name=facts.name,
                command=facts.command,
                owner_uid=facts.owner_uid,
                owner_name=facts.owner_name,
                of_run=None if in_doubt else watchers.is_of_run(pid),
            )
        )
    return processes


def _key(row: Any) -> tuple[int, int]:  # noqa: ANN401 - pynvml has no types
    return row.pid, getattr(row, "gpuInstanceId", pynvml.NVML_VALUE_NOT_AVAILABLE_uint.value)
