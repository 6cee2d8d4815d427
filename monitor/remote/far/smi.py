"""The output of nvidia-smi: a line of figures per GPU, lists of processes and of parts, and its errors."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pylon.monitor.collectors.gpu_figures import Figures
from pylon.monitor.remote.far.sections import MalformedError, whole
from pylon.monitor.status.gpu import COMPUTE_MODES, MIGInstance, smi_fields
from pylon.monitor.status.throttling import throttle_names
from pylon.monitor.status.values import Absence, Side

_MIB = 2**20
_MHZ = 1e6
_MOST_INDEX_DIGITS = 3
_MOST_CHARACTERS = 128

# Texts in place of a value, in lower case. Others ('Unknown Error', 'ERR!') only mean that there is none.
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
# In other output: no driver, no permission, and a machine that has a driver and no GPU.
_NO_DRIVER = (
    "communicate with the nvidia driver",
    "libnvidia-ml.so",
    "nvml shared library",
    "driver is not loaded",
)
_DENIED = ("insufficient permissions", "permission denied")
_NO_DEVICES = "no devices were found"

_PART = re.compile(r"\s*MIG .*\(UUID:\s*(MIG-[0-9A-Za-z/-]+)\)\s*")
_WHOLE = re.compile(r"GPU [0-9]+: .*\(UUID:\s*([0-9A-Za-z][0-9A-Za-z_.-]+)\)\s*")
_UUID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{7,79}")
_OLD_PART = re.compile(r"MIG-GPU-[0-9A-Za-z-]+/([0-9]{1,4})/([0-9]{1,4})")


@dataclass(slots=True, kw_only=True)
class GPUFigures(Figures):
    """One line."""

    uuid: str
    index: int
    driver_version: str | None


def _text(word: str) -> str:
    return word[:_MOST_CHARACTERS]


def _number(unit: float, *names: str) -> Callable[[str], float]:
    def convert(word: str) -> float:
        for name in names:
            word = word.removesuffix(name).rstrip()
        if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", word, re.ASCII) is None:
            raise MalformedError(word)
        return float(word) * unit

    return convert


def amount(word: str) -> int:
    """Bytes of memory. Raises MalformedError."""
    return int(_number(_MIB, "MiB")(word))


def _switch(word: str) -> bool:
    if word not in ("Enabled", "Disabled"):
        raise MalformedError(word)
    return word == "Enabled"


def _compute_mode(word: str) -> str:
    if word.lower() not in COMPUTE_MODES:
        raise MalformedError(word)
    return word.lower()


def _bits(word: str) -> int:
    if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", word) is None:
        raise MalformedError(word)
    return int(word, 16)


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "name": _text,
    "pci_bus_id": _text,
    "utilization_percent": _number(1.0, "%"),
    "memory_busy_percent": _number(1.0, "%"),
    "memory_used_bytes": amount,
    "memory_total_bytes": amount,
    "memory_reserved_bytes": amount,
    "temperature_c": _number(1.0),
    "memory_temperature_c": _number(1.0),
    "power_w": _number(1.0, "W"),
    "power_limit_w": _number(1.0, "W"),
    "sm_clock_hz": _number(_MHZ, "MHz"),
    "memory_clock_hz": _number(_MHZ, "MHz"),
    "sm_clock_max_hz": _number(_MHZ, "MHz"),
    "memory_clock_max_hz": _number(_MHZ, "MHz"),
    "throttle_reasons": _bits,
    "throttle_names": lambda word: throttle_names(_bits(word)),
    "fan_percent": _number(1.0, "%"),
    "ecc_corrected_errors": whole,
    "ecc_uncorrected_errors": whole,
    "persistence_mode": _switch,
    "compute_mode": _compute_mode,
    "mig_enabled": _switch,
}
_KEY = ("index", "uuid")
# By field of GPUSample: what nvidia-smi calls it, preferred first, and the value that a word means.
_FIELDS = {field: (names, _CONVERTERS[field]) for field, names in smi_fields().items() if field not in _KEY}
SMI_FIELDS = frozenset(_FIELDS)
# The key comes first, as the far script expects; MIG mode last: it looks for that at a line's end.
QUERIED = (
    *_KEY,
    "driver_version",
    *dict.fromkeys(name for names, _ in _FIELDS.values() for name in names),
)


def gpu_figures(queried: tuple[str, ...], line: str) -> GPUFigures:
    """One GPU's line of `--query-gpu --format=csv,noheader,nounits`.

    Args:
        queried: the fields that were requested, 'index' and 'uuid' among them.
        line: what was printed.

    Raises:
        MalformedError: it is no such line. One bad value is no error: its field is absent as UNREACHABLE.
    """
    words = [word.strip() for word in line.split(",")]
    if len(words) != len(queried):
        raise MalformedError(f"{len(words)} values for {len(queried)} fields")
    answers = dict(zip(queried, words, strict=True))
    index, uuid = answers.get("index", ""), answers.get("uuid", "")
    if len(index) > _MOST_INDEX_DIGITS:
        raise MalformedError("no identity")
    if value_of(uuid, _text) is Absence.UNSUPPORTED:
        # A GPU that is part of a processor (Jetson) may have no name of its own.
        uuid = f"index:{whole(index)}"
    elif _UUID.fullmatch(uuid) is None:
        raise MalformedError(f"GPU {whole(index)} without identity: {_text(uuid)!r}")
    version = answers.get("driver_version", "")
    known_version = version if re.fullmatch(r"[0-9.]{1,20}", version) else None
    figures = GPUFigures(uuid=uuid, index=whole(index), driver_version=known_version)
    for field, (names, convert) in _FIELDS.items():
        found = [value_of(answers[name], convert) for name in names if name in answers]
        figures.put(field, _preferred(found))
    return figures


def _preferred(answers: list[Any]) -> Any:  # noqa: ANN401 - any field's type, or an Absence
    """The first value; without one the first reason that is more than 'unsupported'."""
    reasons = [one for one in answers if isinstance(one, Absence)]
    values = [one for one in answers if not isinstance(one, Absence)]
    telling = [one for one in reasons if one is not Absence.UNSUPPORTED]
    return (values + telling + [Absence.UNSUPPORTED])[0]


def value_of(word: str, convert: Callable[[str], Any]) -> Any:  # noqa: ANN401 - any field's type, or an Absence
    """What a word means; the reason if it is an excuse or cannot be converted."""
    if word.startswith("[") or word.lower() in _REASONS:
        return _REASONS.get(word.strip("[]").lower(), Absence.UNREACHABLE)
    try:
        return convert(word) if word else Absence.UNREACHABLE
    except MalformedError:
        return Absence.UNREACHABLE


def mig_instances(lines: list[str]) -> dict[str, tuple[MIGInstance, ...]]:
    """The parts of each GPU, by its UUID, from `nvidia-smi -L`; other lines are passed over."""
    found: dict[str, list[MIGInstance]] = {}
    gpu = None
    for line in lines:
        whole_gpu, part = _WHOLE.fullmatch(line), _PART.fullmatch(line)
        if whole_gpu is not None:
            gpu = whole_gpu[1]
            found[gpu] = []
        elif part is not None and gpu is not None:
            # Drivers before 470 name a part by its numbers.
            numbers = _OLD_PART.fullmatch(part[1])
            ids = (None, None) if numbers is None else (int(numbers[1]), int(numbers[2]))
            found[gpu].append(MIGInstance(part[1], ids[0], ids[1], side=Side.REMOTE))
    return {uuid: tuple(parts) for uuid, parts in found.items()}


def absence_of(output: str) -> Absence | None:
    """Why nvidia-smi's message leaves all GPUs absent; None if the machine has none."""
    message = output.lower()
    if _NO_DEVICES in message:
        return None
    if any(one in message for one in _NO_DRIVER):
        return Absence.UNSUPPORTED
    return Absence.DENIED if any(one in message for one in _DENIED) else Absence.UNREACHABLE
