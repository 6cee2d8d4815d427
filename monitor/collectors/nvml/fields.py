"""The queries to a GPU and how often they are made: tables of calls and the fields that they answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

from pylon.monitor.collectors.nvml.driver import FIELD_VALUES, Driver, Handle, available
from pylon.monitor.status.gpu import COMPUTE_MODES
from pylon.monitor.status.throttling import throttle_names

_MHZ = 1e6
_KILOBYTE = 1000.0


@dataclass(frozen=True, slots=True)
class Query:
    """One call and the fields that it answers.

    Attributes:
        call: function of pynvml; its first argument is the handle.
        fields: those of GPUSample that it answers.
        convert: the answer as one value per field; None if the driver answers 'not available'.
        arguments: what the function takes after the handle.
        instead: made for the rest of the session if card or driver do not support this one.
    """

    call: str
    fields: tuple[str, ...]
    convert: Callable[[Any], tuple[Any, ...]]
    arguments: tuple[Any, ...] = ()
    instead: "Query | None" = None

    def ask(self, driver: Driver, gpu: Handle) -> tuple[Any, ...]:
        """One value per field. Raises DriverError."""
        if self.call == FIELD_VALUES:
            return self.convert(driver.field_value(gpu, *self.arguments))
        return self.convert(driver.call(self.call, gpu, *self.arguments))


def _scaled(unit: float) -> Callable[[float], tuple[float | None]]:
    def convert(number: float) -> tuple[float | None]:
        value = available(number)
        return (None if value is None else value * unit,)

    return convert


def _count(number: int) -> tuple[float | None]:
    return (available(number),)


def _memory(info: Any) -> tuple[Any, ...]:  # noqa: ANN401 - pynvml has no types
    return available(info.used), available(info.total), available(info.reserved)


def _memory_of_old_drivers(info: Any) -> tuple[Any, ...]:  # noqa: ANN401 - pynvml has no types
    return available(info.used), available(info.total), None


def _throttling(bits: int) -> tuple[int, tuple[str, ...]]:
    return bits, throttle_names(bits)


def _compute_mode(number: int) -> tuple[str | None]:
    return (COMPUTE_MODES[number] if number in range(len(COMPUTE_MODES)) else None,)


def _text(raw: str | bytes) -> str:
    return raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else raw


_MEMORY_FIELDS = ("memory_used_bytes", "memory_total_bytes", "memory_reserved_bytes")
_THROTTLE_FIELDS = ("throttle_reasons", "throttle_names")
_CORE = (pynvml.NVML_TEMPERATURE_GPU,)

# Made once, when a GPU is found in a session.
IDENTITY = (
    Query("nvmlDeviceGetName", ("name",), lambda name: (_text(name),)),
    Query("nvmlDeviceGetPciInfo", ("pci_bus_id",), lambda info: (_text(info.busId),)),
)

# Made at every tick: cheap calls only (2 to 20 microseconds each, flightlessmango/MangoHud#2104).
# Names that NVIDIA calls deprecated come first: every current driver knows them, and if one
# does not, `instead` is made from then on.
FAST = (
    Query(
        "nvmlDeviceGetUtilizationRates",
        ("utilization_percent", "memory_busy_percent"),
        lambda rates: (available(float(rates.gpu)), available(float(rates.memory))),
    ),
    Query(
        "nvmlDeviceGetMemoryInfo",
        _MEMORY_FIELDS,
        _memory,
        (pynvml.nvmlMemory_v2,),
        instead=Query("nvmlDeviceGetMemoryInfo", _MEMORY_FIELDS, _memory_of_old_drivers),
    ),
    Query(
        "nvmlDeviceGetTemperature",
        ("temperature_c",),
        _scaled(1.0),
        _CORE,
        instead=Query("nvmlDeviceGetTemperatureV", ("temperature_c",), _scaled(1.0), _CORE),
    ),
    Query("nvmlDeviceGetPowerUsage", ("power_w",), _scaled(1e-3)),
    Query("nvmlDeviceGetTotalEnergyConsumption", ("energy_j",), _scaled(1e-3)),
    Query("nvmlDeviceGetClockInfo", ("sm_clock_hz",), _scaled(_MHZ), (pynvml.NVML_CLOCK_SM,)),
    Query("nvmlDeviceGetClockInfo", ("memory_clock_hz",), _scaled(_MHZ), (pynvml.NVML_CLOCK_MEM,)),
    Query(
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        _THROTTLE_FIELDS,
        _throttling,
        instead=Query("nvmlDeviceGetCurrentClocksEventReasons", _THROTTLE_FIELDS, _throttling),
    ),
)

# Made rarely, with processes and MIG instances: a list of processes takes milliseconds, and each
# PCIe counter is watched for 20 ms within the call (NVML API reference, nvmlDeviceGetPcieThroughput).
SLOW = (
    Query(FIELD_VALUES, ("memory_temperature_c",), _scaled(1.0), (pynvml.NVML_FI_DEV_MEMORY_TEMP,)),
    Query("nvmlDeviceGetEnforcedPowerLimit", ("power_limit_w",), _scaled(1e-3)),
    Query("nvmlDeviceGetMaxClockInfo", ("sm_clock_max_hz",), _scaled(_MHZ), (pynvml.NVML_CLOCK_SM,)),
    Query("nvmlDeviceGetMaxClockInfo", ("memory_clock_max_hz",), _scaled(_MHZ), (pynvml.NVML_CLOCK_MEM,)),
    Query("nvmlDeviceGetFanSpeed", ("fan_percent",), _scaled(1.0)),
    Query(
        "nvmlDeviceGetPcieThroughput",
        ("pcie_received_bytes_per_s",),
        _scaled(_KILOBYTE),
        (pynvml.NVML_PCIE_UTIL_RX_BYTES,),
    ),
    Query(
        "nvmlDeviceGetPcieThroughput",
        ("pcie_sent_bytes_per_s",),
        _scaled(_KILOBYTE),
        (pynvml.NVML_PCIE_UTIL_TX_BYTES,),
    ),
    Query(
        "nvmlDeviceGetTotalEccErrors",
        ("ecc_corrected_errors",),
        _count,
        (pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, pynvml.NVML_VOLATILE_ECC),
    ),
    Query(
        "nvmlDeviceGetTotalEccErrors",
        ("ecc_uncorrected_errors",),
        _count,
        (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC),
    ),
    Query("nvmlDeviceGetPersistenceMode", ("persistence_mode",), lambda mode: (bool(mode),)),
    Query("nvmlDeviceGetComputeMode", ("compute_mode",), _compute_mode),
    Query("nvmlDeviceGetMigMode", ("mig_enabled",), lambda modes: (bool(modes[0]),)),
)
