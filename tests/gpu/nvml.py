"""Every value that the monitors read through NVML, against what nvidia-smi prints.

A GPU changes between two looks. So nvidia-smi is asked between two readings of the monitor, and has to lie
between them, within a tolerance; a value that does so in one of five rounds agrees. A wrong unit, field or
GPU agrees in none.
"""

import subprocess
import time
from dataclasses import dataclass

from pylon.monitor import GPUSample, GPUStatus, SystemMonitor
from pylon.monitor.remote.far.sections import MalformedError
from pylon.monitor.remote.far.smi import QUERIED, SMI_FIELDS, GPUFigures, gpu_figures
from tests.gpu.outcomes import Report, Setting

ROUNDS = 5
INTERVAL_S = 0.5
_MIB = 2**20
_WITHIN_S = 20.0
_UNKNOWN_FIELD = "[Not Supported]"


@dataclass(frozen=True)
class Tolerance:
    """How far nvidia-smi may lie outside the two readings.

    Attributes:
        absolute: in the field's unit.
        relative: of the larger reading.
        reason: why not 0.
    """

    absolute: float = 0.0
    relative: float = 0.0
    reason: str = "the same value"


_EXACT = Tolerance()
_ROUNDED_MEMORY = Tolerance(absolute=_MIB, reason="nvidia-smi prints whole MiB")
_ROUNDED_POWER = Tolerance(absolute=0.01, reason="nvidia-smi prints hundredths of a watt")
_SHARE = Tolerance(absolute=10, reason="a share of another sample period")
TOLERANCES: dict[str, Tolerance] = {
    "name": _EXACT,
    "pci_bus_id": _EXACT,
    "memory_total_bytes": _ROUNDED_MEMORY,
    "memory_reserved_bytes": _ROUNDED_MEMORY,
    "memory_used_bytes": Tolerance(absolute=16 * _MIB, reason="whole MiB, and the driver's own buffers"),
    "utilization_percent": _SHARE,
    "memory_busy_percent": _SHARE,
    "temperature_c": Tolerance(absolute=2, reason="whole degrees, of another moment"),
    "memory_temperature_c": Tolerance(absolute=2, reason="whole degrees, of another moment"),
    "power_w": Tolerance(absolute=5, relative=0.05, reason="an average over another second"),
    "power_limit_w": _ROUNDED_POWER,
    "sm_clock_hz": Tolerance(relative=0.05, reason="the clock follows load and temperature"),
    "memory_clock_hz": Tolerance(relative=0.05, reason="the clock follows load and temperature"),
    "sm_clock_max_hz": _EXACT,
    "memory_clock_max_hz": _EXACT,
    "throttle_reasons": _EXACT,
    "throttle_names": _EXACT,
    "fan_percent": Tolerance(absolute=5, reason="the fan follows the temperature"),
    "ecc_corrected_errors": _EXACT,
    "ecc_uncorrected_errors": _EXACT,
    "persistence_mode": _EXACT,
    "compute_mode": _EXACT,
    "mig_enabled": _EXACT,
}


def run(setting: Setting) -> Report:
    """The part."""
    report = Report()
    seen: dict[str, dict[str, str | None]] = {}
    versions = set()
    with SystemMonitor(interval_s=INTERVAL_S, slow_interval_s=INTERVAL_S, all_commands=True) as monitor:
        for _ in range(ROUNDS):
            before = next_reading(monitor, time.monotonic())
            printed = ask_nvidia_smi()
            after = next_reading(monitor, time.monotonic())
            theirs, ours = [one.uuid for one in printed], [one.uuid for one in after.gpus]
            report.expect(theirs == ours, f"GPUs: nvidia-smi has {theirs}, Pylon {ours}")
            versions |= {(after.driver_version, one.driver_version) for one in printed}
            for figures, one, other in zip(printed, before.gpus, after.gpus, strict=False):
                note_round(seen.setdefault(f"GPU {figures.index}", {}), figures, one, other)
    report.failures = sorted(set(report.failures))
    for ours, theirs in versions:
        report.expect(ours == theirs, f"driver version: nvidia-smi {theirs}, Pylon {ours}")
    for gpu, fields in seen.items():
        report.failures += [f"{gpu}: {name}: {wrong}" for name, wrong in fields.items() if wrong]
    agreeing = [wrong is None for fields in seen.values() for wrong in fields.values()]
    report.expect(bool(agreeing), "no GPU was compared")
    report.figure = f"{sum(agreeing)} of {len(agreeing)} values of {len(seen)} GPU(s) agree"
    report.details = {"disagreements": seen, "tolerances": {k: vars(v) for k, v in TOLERANCES.items()}}
    return report


def note_round(
    found: dict[str, str | None], figures: GPUFigures, before: GPUSample, after: GPUSample
) -> None:
    """Compare each field that has not agreed yet; None in `found`: it agrees."""
    for name in sorted(SMI_FIELDS):
        if found.get(name, "") is not None:
            found[name] = disagreement(name, figures, before, after)


def disagreement(name: str, figures: GPUFigures, before: GPUSample, after: GPUSample) -> str | None:
    """How a field differs from nvidia-smi's; None if it does not."""
    readings = [getattr(before, name), getattr(after, name)]
    if name in figures.absent or None in readings:
        theirs, ours = figures.absent.get(name), after.absent.get(name)
        if name in figures.absent and None in readings and theirs is ours:
            return None
        expected = figures.values.get(name) if theirs is None else f"absent ({theirs.value})"
        return f"nvidia-smi {expected}, Pylon {readings[1] if ours is None else f'absent ({ours.value})'}"
    expected, tolerance = figures.values[name], TOLERANCES[name]
    if isinstance(expected, bool) or not isinstance(expected, int | float):
        same = expected in readings
    else:
        slack = tolerance.absolute + tolerance.relative * max(map(abs, readings))
        same = min(readings) - slack <= expected <= max(readings) + slack
    low, high = readings
    return None if same else f"nvidia-smi {expected}, Pylon {low} and {high} ({tolerance.reason})"


def next_reading(monitor: SystemMonitor, after_s: float, *, slow: bool = True) -> GPUStatus:
    """The first reading of a GPU that began after this moment; with the slow values, unless `slow` is False.

    Raises:
        TimeoutError: none came.
    """
    until = time.monotonic() + _WITHIN_S
    while time.monotonic() < until:
        seen = monitor.latest().gpu.get("localhost")
        status = None if seen is None else seen.current
        if status is not None and status.monotonic_s > after_s and status.gpus:
            read_s = [one.slow_monotonic_s or 0.0 for one in status.gpus]
            if not slow or min(read_s) > after_s:
                return status
        time.sleep(0.02)
    raise TimeoutError(f"the monitor gave no reading of a GPU within {_WITHIN_S:.0f} s: {monitor.health()}")


def ask_nvidia_smi() -> list[GPUFigures]:
    """Its figures of each GPU, in its order."""
    printed = _query(QUERIED)
    if printed is None:
        # A driver that does not know one field prints none of them.
        columns = [_query((name,)) for name in QUERIED]
        count = max(len(one) for one in columns if one is not None)
        filled = [one or [_UNKNOWN_FIELD] * count for one in columns]
        printed = [", ".join(words) for words in zip(*filled, strict=True)]
    return sorted((gpu_figures(QUERIED, line) for line in printed), key=lambda one: one.index)


def _query(names: tuple[str, ...]) -> list[str] | None:
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    if "not a valid field" in done.stdout + done.stderr:
        return None
    if done.returncode:
        raise MalformedError(f"nvidia-smi: exit code {done.returncode}: {done.stdout.strip()[:300]}")
    return done.stdout.splitlines()
