"""What nvidia-smi prints: a line of figures per GPU, lists of processes and of parts, and its excuses."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pylon.monitor.collectors.nvml.fields import throttle_names
from pylon.monitor.remote.far.sections import MalformedError, whole
from pylon.monitor.status.gpu import GPUProcess, MIGInstance
from pylon.monitor.status.values import Absence

_MIB = 2**20
_MHZ = 1e6
_MOST_INDEX_DIGITS = 3
COMMAND_CHARACTERS = 160

# Words in place of a value, in lower case. Of others ('Unknown Error', 'ERR!') all that is known is that
# there is none.
_REASONS = {
    "n/a": Absence.UNSUPPORTED,
    "not supported": Absence.UNSUPPORTED,
    "not available": Absence.UNSUPPORTED,
    "requested functionality has been deprecated": Absence.UNSUPPORTED,
    "function not found": Absence.UNSUPPORTED,
    "insufficient permissions": Absence.DENIED,
    "gpu is lost": Absence.LOST,
    "gpu requires reset": Absence.LOST,
    "reset required": Absence.LOST,
    "timeout": Absence.HUNG,
}
# In whatever else it prints: no driver, no right, and a machine that has a driver and no GPU.
_NO_DRIVER = (
    "communicate with the nvidia driver",
    "libnvidia-ml.so",
    "nvml shared library",
    "driver is not loaded",
)
_DENIED = ("insufficient permissions", "permission denied")
_NO_DEVICES = "no devices were found"

_PART = re.compile(r"\s*MIG .*\(UUID:\s*(MIG-[0-9A-Za-z/-]+)\)\s*")
_WHOLE = re.compile(r"GPU [0-9]+: .*\(UUID:\s*(GPU-[0-9A-Za-z-]+)\)\s*")
_OLD_PART = re.compile(r"MIG-GPU-[0-9A-Za-z-]+/([0-9]{1,4})/([0-9]{1,4})")


@dataclass(slots=True)
class GPUFigures:
    """One line: fields of GPUSample, and the reasons of those that are absent."""

    uuid: str
    index: int
    values: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, Absence] = field(default_factory=dict)
    driver_version: str | None = None


def _text(word: str) -> str:
    return word


def _number(unit: float, *names: str) -> Callable[[str], float]:
    def convert(word: str) -> float:
        for name in names:
            word = word.removesuffix(name).rstrip()
        if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", word, re.ASCII) is None:
            raise MalformedError(word)
        return float(word) * unit

    return convert


def _amount(word: str) -> int:
    return int(_number(_MIB, "MiB")(word))


def _switch(word: str) -> bool:
    if word not in ("Enabled", "Disabled"):
        raise MalformedError(word)
    return word == "Enabled"


def _bits(word: str) -> int:
    if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", word) is None:
        raise MalformedError(word)
    return int(word, 16)


# In the order of preference where two tell the same.
_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "name": ("name", _text),
    "pci.bus_id": ("pci_bus_id", _text),
    "utilization.gpu": ("utilization_percent", _number(1.0, "%")),
    "utilization.memory": ("memory_busy_percent", _number(1.0, "%")),
    "memory.used": ("memory_used_bytes", _amount),
    "memory.total": ("memory_total_bytes", _amount),
    "memory.reserved": ("memory_reserved_bytes", _amount),
    "temperature.gpu": ("temperature_c", _number(1.0)),
    "power.draw": ("power_w", _number(1.0, "W")),
    "enforced.power.limit": ("power_limit_w", _number(1.0, "W")),
    "power.limit": ("power_limit_w", _number(1.0, "W")),
    "clocks.sm": ("sm_clock_hz", _number(_MHZ, "MHz")),
    "clocks.mem": ("memory_clock_hz", _number(_MHZ, "MHz")),
    "clocks.max.sm": ("sm_clock_max_hz", _number(_MHZ, "MHz")),
    "clocks.max.mem": ("memory_clock_max_hz", _number(_MHZ, "MHz")),
    "clocks_throttle_reasons.active": ("throttle_reasons", _bits),
    "clocks_event_reasons.active": ("throttle_reasons", _bits),
    "fan.speed": ("fan_percent", _number(1.0, "%")),
    "ecc.errors.corrected.volatile.total": ("ecc_corrected_errors", whole),
    "ecc.errors.uncorrected.volatile.total": ("ecc_uncorrected_errors", whole),
    "persistence_mode": ("persistence_mode", _switch),
    "mig.mode.current": ("mig_enabled", _switch),
}
TOLD_FIELDS = frozenset(name for name, _ in _FIELDS.values()) | {"throttle_names"}


def gpu_figures(queried: tuple[str, ...], line: str) -> GPUFigures:
    """One GPU's line of `--query-gpu --format=csv,noheader,nounits`.

    Args:
        queried: the fields that were asked for, 'index' and 'uuid' among them.
        line: what was printed.

    Raises:
        MalformedError: it is no such line. One bad value is none: its field is absent as UNREACHABLE.
    """
    words = [word.strip() for word in line.split(",")]
    if len(words) != len(queried):
        raise MalformedError(f"{len(words)} values for {len(queried)} fields")
    told = dict(zip(queried, words, strict=True))
    index, uuid = told.get("index", ""), told.get("uuid", "")
    if (
        not uuid.startswith("GPU-")
        or not re.fullmatch(r"[0-9A-Za-z-]{5,80}", uuid)
        or len(index) > _MOST_INDEX_DIGITS
    ):
        raise MalformedError("no identity")
    figures = GPUFigures(uuid, whole(index))
    version = told.get("driver_version", "")
    figures.driver_version = version if re.fullmatch(r"[0-9.]{1,20}", version) else None
    for name, (target, convert) in _FIELDS.items():
        if target in figures.values:
            continue
        answer = _value(told[name], convert) if name in told else Absence.UNSUPPORTED
        if not isinstance(answer, Absence):
            figures.values[target] = answer
            figures.absent.pop(target, None)
        elif figures.absent.get(target, Absence.UNSUPPORTED) is Absence.UNSUPPORTED:
            figures.absent[target] = answer
    bits = figures.values.get("throttle_reasons")
    if bits is None:
        figures.absent["throttle_names"] = figures.absent["throttle_reasons"]
    else:
        figures.values["throttle_names"] = throttle_names(bits)
    return figures


def _value(word: str, convert: Callable[[str], Any]) -> Any:  # noqa: ANN401 - any field's type, or an Absence
    if word.startswith("[") or word.lower() in _REASONS:
        return _REASONS.get(word.strip("[]").lower(), Absence.UNREACHABLE)
    try:
        return convert(word) if word else Absence.UNREACHABLE
    except MalformedError:
        return Absence.UNREACHABLE


def gpu_process(line: str) -> tuple[str, GPUProcess]:
    """The UUID of a GPU, and a process that computes on it. Raises MalformedError.

    The line is 'uid, user and name', as /proc there tells them, and one line of
    `--query-compute-apps=gpu_uuid,pid,used_memory,process_name`, with tabs between.
    """
    parts = line.split("\t")
    words = [word.strip() for word in parts[-1].split(",", 3)]
    if len(parts) != 4 or len(words) != 4 or not words[0].startswith(("GPU-", "MIG-")):
        raise MalformedError(line)
    uid, user, name = (None if part in ("-", "") else part for part in parts[:3])
    memory = _value(words[2], _amount)
    program = None if words[3].startswith("[") else words[3][:COMMAND_CHARACTERS] or None
    return words[0], GPUProcess(
        pid=whole(words[1]),
        memory_used_bytes=None if isinstance(memory, Absence) else memory,
        compute=True,
        graphics=False,
        name=name or (program and program.split()[0].rpartition("/")[2]) or None,
        command=program,
        owner_uid=None if uid is None else whole(uid),
        owner_name=user,
        of_run=False,
    )


def mig_instances(lines: list[str]) -> dict[str, tuple[MIGInstance, ...]]:
    """The parts of each GPU, by its UUID, from `nvidia-smi -L`; other lines are passed over."""
    found: dict[str, tuple[MIGInstance, ...]] = {}
    gpu = None
    for line in lines:
        whole_gpu, part = _WHOLE.fullmatch(line), _PART.fullmatch(line)
        if whole_gpu is not None:
            gpu = whole_gpu[1]
            found[gpu] = ()
        elif part is not None and gpu is not None:
            # Drivers before 470 name a part by its numbers.
            numbers = _OLD_PART.fullmatch(part[1])
            ids = (None, None) if numbers is None else (int(numbers[1]), int(numbers[2]))
            found[gpu] = (*found[gpu], MIGInstance(part[1], *ids))
    return found


def absence_of(words: str) -> Absence | None:
    """What nvidia-smi's words say of all GPUs; None where there simply is none."""
    said = words.lower()
    if _NO_DEVICES in said:
        return None
    if any(one in said for one in _NO_DRIVER):
        return Absence.UNSUPPORTED
    return Absence.DENIED if any(one in said for one in _DENIED) else Absence.UNREACHABLE
