"""GPUs through NVML: the door to pynvml (the nvidia-ml-py distribution).

A call into the driver may take seconds or never return; nothing here guards against that, as
nothing inside one process can. The process that holds this collector may be replaced at any time.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pynvml

from monitor.collectors.visible_devices import visible_uuids
from monitor.status import Absence, GPUProcess, GPUSample, GPUStatus, WindowStats
from monitor.window import Window

Value = TypeVar("Value")

_SLOW_EVERY_S = 10.0
_MHZ = 1e6
_ABSENCES = {
    pynvml.NVML_ERROR_NOT_SUPPORTED: Absence.UNSUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: Absence.UNSUPPORTED,
    pynvml.NVML_ERROR_NO_PERMISSION: Absence.DENIED,
    pynvml.NVML_ERROR_GPU_IS_LOST: Absence.LOST,
    pynvml.NVML_ERROR_TIMEOUT: Absence.HUNG,
}
# The library is not there or the driver not loaded: a machine without GPUs, not a fault.
_NO_DRIVER = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_NO_PERMISSION,
}
# After a reset or a driver restart the old session answers with these: a new one is needed.
_SESSION_OVER = {
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
}


class _SessionOver(Exception):  # noqa: N818 - not an error but a turn in the driver's life
    """The driver has forgotten our handles."""


class NVMLCollector:
    """Reads the GPUs of this machine.

    Args:
        run_pids: gives the process ids of the watched run, to tell its share of a GPU from others'.
        visible_devices: value of CUDA_VISIBLE_DEVICES; None: not set.
        window_size: readings that statistics go over.
        clock, wall_clock: seconds.
        proc_root: '/proc', or a recorded tree.
    """

    def __init__(
        self,
        run_pids: Callable[[], set[int]],
        visible_devices: str | None,
        window_size: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        proc_root: Path = Path("/proc"),
    ) -> None:
        self._run_pids = run_pids
        self._visible_devices = visible_devices
        self._window_size = window_size
        self._clock = clock
        self._wall_clock = wall_clock
        self._proc_root = proc_root
        self._handles: dict[str, Any] | None = None
        self._no_driver_until_s = -1.0
        self._slow: dict[str, tuple[float, dict[str, Any], dict[str, Absence]]] = {}
        self._windows: dict[tuple[str, str], Window] = {}
        self._versions: tuple[str | None, str | None] = (None, None)

    def collect(self) -> GPUStatus:
        """One reading of all GPUs; the first one opens the driver.

        A machine without driver gives an empty status with the reason, and the driver is looked for
        again every 10 s. A field that cannot be read is absent with its reason; it costs no other.
        """
        now = self._clock()
        try:
            handles = self._open(now)
            gpus = tuple(self._read_gpu(uuid, handle, now) for uuid, handle in handles.items())
        except _SessionOver:
            self.close()
            return GPUStatus(now, self._wall_clock(), absence=Absence.LOST)
        except pynvml.NVMLError as error:
            return GPUStatus(now, self._wall_clock(), absence=_absence(error))
        absence = None if self._handles is not None else Absence.UNSUPPORTED
        return GPUStatus(
            monotonic_s=now,
            wall_time_s=self._wall_clock(),
            gpus=gpus,
            utilization_percent={gpu.uuid: self._window(gpu, "utilization_percent") for gpu in gpus},
            memory_used_bytes={gpu.uuid: self._window(gpu, "memory_used_bytes") for gpu in gpus},
            driver_version=self._versions[0],
            cuda_version=self._versions[1],
            absence=absence,
        )

    def close(self) -> None:
        """Let go of the driver, so that a GPU can be reset or divided. The next `collect` opens it again."""
        if self._handles is None:
            return
        self._handles = None
        self._slow.clear()
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            # The session was over on the driver's side already.
            return

    def _open(self, now: float) -> dict[str, Any]:
        if self._handles is not None:
            return self._handles
        if now < self._no_driver_until_s:
            return {}
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            if error.value not in _NO_DRIVER:
                raise
            self._no_driver_until_s = now + _SLOW_EVERY_S
            return {}
        everything = {}
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            everything[pynvml.nvmlDeviceGetUUID(handle)] = handle
        shown = visible_uuids(self._visible_devices, list(everything))
        self._handles = {uuid: everything[uuid] for uuid in shown}
        cuda = _query(pynvml.nvmlSystemGetCudaDriverVersion, {}, "")
        self._versions = (
            _query(pynvml.nvmlSystemGetDriverVersion, {}, ""),
            None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
        )
        return self._handles

    def _read_gpu(self, uuid: str, handle: Any, now: float) -> GPUSample:  # noqa: ANN401 - pynvml has no types
        absent: dict[str, Absence] = {}
        fields = dict(_fast_fields(handle, absent))
        due_s, slow, slow_absent = self._slow.get(uuid, (-1.0, {}, {}))
        if now >= due_s:
            slow_absent = {}
            slow = dict(_slow_fields(handle, slow_absent))
            slow["processes"] = self._processes(handle, slow_absent)
            self._slow[uuid] = (now + _SLOW_EVERY_S, slow, slow_absent)
        return GPUSample(uuid=uuid, **fields, **slow, absent=absent | slow_absent)

    def _processes(self, handle: Any, absent: dict[str, Absence]) -> tuple[GPUProcess, ...] | None:  # noqa: ANN401
        rows = _query(pynvml.nvmlDeviceGetComputeRunningProcesses, absent, "processes", handle)
        if rows is None:
            return None
        run_pids = self._run_pids()
        return tuple(
            GPUProcess(row.pid, row.usedGpuMemory, *self._identity(row.pid), row.pid in run_pids)
            for row in rows
        )

    def _identity(self, pid: int) -> tuple[str | None, int | None]:
        folder = self._proc_root / str(pid)
        try:
            return (folder / "comm").read_text(
                encoding="utf-8", errors="replace"
            ).strip(), folder.stat().st_uid
        except OSError:
            return None, None

    def _window(self, gpu: GPUSample, name: str) -> WindowStats:
        window = self._windows.setdefault((gpu.uuid, name), Window(self._window_size))
        return window.add(getattr(gpu, name))


def _fast_fields(handle: Any, absent: dict[str, Absence]) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    rates = _query(pynvml.nvmlDeviceGetUtilizationRates, absent, "utilization_percent", handle)
    yield "utilization_percent", None if rates is None else float(rates.gpu)
    yield "memory_busy_percent", None if rates is None else float(rates.memory)
    memory = _query(pynvml.nvmlDeviceGetMemoryInfo, absent, "memory_used_bytes", handle)
    yield "memory_used_bytes", None if memory is None else int(memory.used)
    yield "memory_total_bytes", None if memory is None else int(memory.total)
    scalars: tuple[tuple[str, float, Callable[..., Any], tuple[Any, ...]], ...] = (
        ("temperature_c", 1.0, pynvml.nvmlDeviceGetTemperature, (pynvml.NVML_TEMPERATURE_GPU,)),
        ("power_w", 1e-3, pynvml.nvmlDeviceGetPowerUsage, ()),
        ("energy_j", 1e-3, pynvml.nvmlDeviceGetTotalEnergyConsumption, ()),
        ("sm_clock_hz", _MHZ, pynvml.nvmlDeviceGetClockInfo, (pynvml.NVML_CLOCK_SM,)),
        ("memory_clock_hz", _MHZ, pynvml.nvmlDeviceGetClockInfo, (pynvml.NVML_CLOCK_MEM,)),
    )
    for name, unit, function, arguments in scalars:
        value = _query(function, absent, name, handle, *arguments)
        yield name, None if value is None else value * unit


def _slow_fields(handle: Any, absent: dict[str, Absence]) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    yield "name", _query(pynvml.nvmlDeviceGetName, absent, "name", handle)
    limit = _query(pynvml.nvmlDeviceGetEnforcedPowerLimit, absent, "power_limit_w", handle)
    yield "power_limit_w", None if limit is None else limit * 1e-3
    yield (
        "throttle_reasons",
        _query(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, absent, "throttle_reasons", handle),
    )
    fan = _query(pynvml.nvmlDeviceGetFanSpeed, absent, "fan_percent", handle)
    yield "fan_percent", None if fan is None else float(fan)
    ecc = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
    yield "ecc_errors", _query(pynvml.nvmlDeviceGetTotalEccErrors, absent, "ecc_errors", handle, *ecc)
    persistence = _query(pynvml.nvmlDeviceGetPersistenceMode, absent, "persistence_mode", handle)
    yield "persistence_mode", None if persistence is None else bool(persistence)
    mig = _query(pynvml.nvmlDeviceGetMigMode, absent, "mig_enabled", handle)
    yield "mig_enabled", None if mig is None else bool(mig[0])


def _query(
    function: Callable[..., Value],
    absent: dict[str, Absence],
    name: str,
    *arguments: Any,  # noqa: ANN401
) -> Value | None:
    """Call the driver; an error becomes the reason why field `name` is absent."""
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _SESSION_OVER:
            raise _SessionOver from error
        absent[name] = _absence(error)
        return None


def _absence(error: pynvml.NVMLError) -> Absence:
    return _ABSENCES.get(error.value, Absence.UNREACHABLE)
