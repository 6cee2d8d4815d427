"""What is asked of a GPU, and how often: the tables of calls and the fields that they answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

from pylon.monitor.collectors.nvml.driver import known

_MHZ = 1e6
_KILOBYTE = 1000.0
_THROTTLE_NAMES = {
    pynvml.nvmlClocksEventReasonGpuIdle: "gpu_idle",
    pynvml.nvmlClocksEventReasonApplicationsClocksSetting: "applications_clocks_setting",
    pynvml.nvmlClocksEventReasonSwPowerCap: "sw_power_cap",
    pynvml.nvmlClocksEventReasonHwSlowdown: "hw_slowdown",
    pynvml.nvmlClocksEventReasonSyncBoost: "sync_boost",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "sw_thermal_slowdown",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "hw_thermal_slowdown",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "hw_power_brake_slowdown",
    pynvml.nvmlClocksEventReasonDisplayClockSetting: "display_clock_setting",
    pynvml.nvmlClocksThrottleReasonBoardLimit: "board_limit",
    pynvml.nvmlClocksThrottleReasonReliability: "reliability",
}


@dataclass(frozen=True, slots=True)
class Question:
    """One call and what it answers.

    Attributes:
        call: function of pynvml; its first argument is the handle.
        fields: those of GPUSample that it answers.
        convert: the answer as one value per field; None where the driver says 'not available'.
        arguments: what the function takes after the handle.
        instead: asked for the rest of the session where card or driver do not support this one.
    """

    call: str
    fields: tuple[str, ...]
    convert: Callable[[Any], tuple[Any, ...]]
    arguments: tuple[Any, ...] = ()
    instead: "Question | None" = None


def throttle_names(bits: int) -> tuple[str, ...]:
    """The reasons of a nvmlClocksEventReasons bit mask in words; 'bit_N' for one that has no name here."""
    places = [place for place in range(bits.bit_length()) if bits >> place & 1]
    return tuple(_THROTTLE_NAMES.get(1 << place, f"bit_{place}") for place in places)


def _scaled(unit: float) -> Callable[[float], tuple[float | None]]:
    def convert(number: float) -> tuple[float | None]:
        value = known(number)
        return (None if value is None else value * unit,)

    return convert


def _count(number: int) -> tuple[float | None]:
    return (known(number),)


def _memory(info: Any) -> tuple[Any, ...]:  # noqa: ANN401 - pynvml has no types
    return known(info.used), known(info.total), known(info.reserved)


def _memory_of_old_drivers(info: Any) -> tuple[Any, ...]:  # noqa: ANN401 - pynvml has no types
    return known(info.used), known(info.total), None


def _text(raw: str | bytes) -> str:
    return raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else raw


_MEMORY_FIELDS = ("memory_used_bytes", "memory_total_bytes", "memory_reserved_bytes")
_THROTTLE_FIELDS = ("throttle_reasons", "throttle_names")

# Asked once, when a GPU is found in a session.
IDENTITY = (
    Question("nvmlDeviceGetName", ("name",), lambda name: (_text(name),)),
    Question("nvmlDeviceGetPciInfo", ("pci_bus_id",), lambda info: (_text(info.busId),)),
)

# Asked at every tick: cheap calls only (2 to 20 microseconds each, flightlessmango/MangoHud#2104).
# Names that NVIDIA calls deprecated come first: every driver of today knows them, and where one
# does not, `instead` is asked from then on.
FAST = (
    Question(
        "nvmlDeviceGetUtilizationRates",
        ("utilization_percent", "memory_busy_percent"),
        lambda rates: (known(float(rates.gpu)), known(float(rates.memory))),
    ),
    Question(
        "nvmlDeviceGetMemoryInfo",
        _MEMORY_FIELDS,
        _memory,
        (pynvml.nvmlMemory_v2,),
        instead=Question("nvmlDeviceGetMemoryInfo", _MEMORY_FIELDS, _memory_of_old_drivers),
    ),
    Question(
        "nvmlDeviceGetTemperature",
        ("temperature_c",),
        _scaled(1.0),
        (pynvml.NVML_TEMPERATURE_GPU,),
        instead=Question(
            "nvmlDeviceGetTemperatureV", ("temperature_c",), _scaled(1.0), (pynvml.NVML_TEMPERATURE_GPU,)
        ),
    ),
    Question("nvmlDeviceGetPowerUsage", ("power_w",), _scaled(1e-3)),
    Question("nvmlDeviceGetTotalEnergyConsumption", ("energy_j",), _scaled(1e-3)),
    Question("nvmlDeviceGetClockInfo", ("sm_clock_hz",), _scaled(_MHZ), (pynvml.NVML_CLOCK_SM,)),
    Question("nvmlDeviceGetClockInfo", ("memory_clock_hz",), _scaled(_MHZ), (pynvml.NVML_CLOCK_MEM,)),
    Question(
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        _THROTTLE_FIELDS,
        lambda bits: (bits, throttle_names(bits)),
        instead=Question(
            "nvmlDeviceGetCurrentClocksEventReasons",
            _THROTTLE_FIELDS,
            lambda bits: (bits, throttle_names(bits)),
        ),
    ),
)

# Asked rarely, with processes and MIG instances: a list of processes takes milliseconds, and each
# PCIe counter is watched for 20 ms within the call (NVML API reference, nvmlDeviceGetPcieThroughput).
SLOW = (
    Question("nvmlDeviceGetEnforcedPowerLimit", ("power_limit_w",), _scaled(1e-3)),
    Question("nvmlDeviceGetMaxClockInfo", ("sm_clock_max_hz",), _scaled(_MHZ), (pynvml.NVML_CLOCK_SM,)),
    Question("nvmlDeviceGetMaxClockInfo", ("memory_clock_max_hz",), _scaled(_MHZ), (pynvml.NVML_CLOCK_MEM,)),
    Question("nvmlDeviceGetFanSpeed", ("fan_percent",), _scaled(1.0)),
    Question(
        "nvmlDeviceGetPcieThroughput",
        ("pcie_received_bytes_per_s",),
        _scaled(_KILOBYTE),
        (pynvml.NVML_PCIE_UTIL_RX_BYTES,),
    ),
    Question(
        "nvmlDeviceGetPcieThroughput",
        ("pcie_sent_bytes_per_s",),
        _scaled(_KILOBYTE),
        (pynvml.NVML_PCIE_UTIL_TX_BYTES,),
    ),
    Question(
        "nvmlDeviceGetTotalEccErrors",
        ("ecc_corrected_errors",),
        _count,
        (pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, pynvml.NVML_VOLATILE_ECC),
    ),
    Question(
        "nvmlDeviceGetTotalEccErrors",
        ("ecc_uncorrected_errors",),
        _count,
        (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC),
    ),
    Question("nvmlDeviceGetPersistenceMode", ("persistence_mode",), lambda mode: (bool(mode),)),
    Question("nvmlDeviceGetMigMode", ("mig_enabled",), lambda modes: (bool(modes[0]),)),
)
