"""The parts of a GPU that is divided (MIG)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pynvml

from pylon.monitor.collectors.nvml.driver import Driver, DriverError, Handle, available
from pylon.monitor.status import Absence
from pylon.monitor.status.gpu import MIGInstance


class InstanceReader:
    """Reads the instances of one GPU. What never changes for an instance is read once.

    Args:
        driver: the open session.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._known: dict[str, MIGInstance] = {}

    def read(self, gpu: Handle) -> list[tuple[Handle, MIGInstance]]:
        """Handle and state of each instance of `gpu`.

        Raises:
            DriverError: the driver does not list them.
        """
        found = []
        for uuid, handle in instances_of(self._driver, gpu):
            if uuid not in self._known:
                self._known[uuid] = MIGInstance(
                    uuid,
                    self._ask("nvmlDeviceGetGpuInstanceId", handle),
                    self._ask("nvmlDeviceGetComputeInstanceId", handle),
                )
            memory = self._ask("nvmlDeviceGetMemoryInfo", handle, pynvml.nvmlMemory_v2)
            found.append((handle, _with_memory(self._known[uuid], memory)))
        # Instances are created and destroyed at any time, and their numbers used again.
        self._known = {uuid: self._known[uuid] for uuid in (one.uuid for _, one in found)}
        return found

    def _ask(self, call: str, *arguments: Any) -> Any:  # noqa: ANN401 - pynvml has no types
        try:
            return self._driver.call(call, *arguments)
        except DriverError as error:
            if error.session_over or error.gpu_lost:
                raise
            return None


def instances_of(driver: Driver, gpu: Handle) -> Iterator[tuple[str, Handle]]:
    """UUID and handle of each instance of `gpu`. Raises DriverError."""
    for index in range(driver.call("nvmlDeviceGetMaxMigDeviceCount", gpu)):
        try:
            handle = driver.call("nvmlDeviceGetMigDeviceHandleByIndex", gpu, index)
            yield driver.call("nvmlDeviceGetUUID", handle), handle
        except DriverError as error:
            # Places without an instance answer NOT_FOUND; one that was just destroyed, otherwise.
            if error.session_over or error.gpu_lost or error.absence is Absence.DENIED:
                raise


def instance_uuids(driver: Driver, gpu: Handle) -> list[str]:
    """UUIDs of the instances of `gpu`; none if it is not divided or does not list them."""
    try:
        if not driver.call("nvmlDeviceGetMigMode", gpu)[0]:
            return []
        return [uuid for uuid, _ in instances_of(driver, gpu)]
    except DriverError as error:
        if error.session_over:
            raise
        return []


def _with_memory(instance: MIGInstance, memory: Any) -> MIGInstance:  # noqa: ANN401 - pynvml has no types
    if memory is None:
        return instance
    return replace(instance, memory_used_bytes=_bytes(memory.used), memory_total_bytes=_bytes(memory.total))


def _bytes(number: int) -> int | None:
    return None if available(number) is None else number
