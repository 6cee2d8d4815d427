"""Which recorded figures share a chart: by name, unit and what they describe."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pylon.recorder.history import SeriesKey

_LIMIT = re.compile(r"(^|_)(limit|total|capacity|cpuset)(_|$)(?!.*used)|_max$")
_NAMES = {
    "core_max_utilization": "busiest core",
    "run_memory": "resident",
    "run_memory_pss": "resident, shared pages divided (PSS)",
    "cgroup_memory_used": "control group",
    "cgroup_memory_limit_used": "counts against the limit",
    "cgroup_memory_working_set": "control group without page cache",
    "cgroup_memory_limit": "limit of the control group",
    "cgroup_cpu_utilization": "control group",
    "cpu_utilization": "all cores",
    "cgroup_cpu_pressure": "CPU",
    "cgroup_memory_pressure": "memory",
    "cgroup_io_pressure": "disks",
    "gpu_run_memory_used": "run",
    "gpu_others_memory_used": "others",
}
_WORDS = re.compile(r"\b(gpu|cpu|oom|ecc|io)\b", re.IGNORECASE)
# Sums of bits, whose means are none.
_NOT_DRAWN = {"bits"}
# What a chart's title and unit say already.
_REDUNDANT = re.compile(r"^(gpu|cpu|cgroup|host|disk|net|network)_|_(percent|bytes|bytes_per_s|w|c|hz|s)$")


@dataclass(frozen=True, slots=True)
class ChartSpec:
    """A chart of hardware figures.

    Attributes:
        id, title: of the chart.
        short: what a figure of it is called where there is no chart.
        names: expression that a figure's name matches.
        units: that it may have; empty: any.
        scopes: that it may have; empty: any.
        device: whether it is of a GPU.
        top: the axis reaches at least so far.
    """

    id: str
    title: str
    short: str
    names: str
    units: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    device: bool = False
    top: float | None = None

    def takes(self, key: SeriesKey) -> bool:
        """Whether a figure belongs into it."""
        return (
            re.search(self.names, key.name) is not None
            and (not self.units or key.unit in self.units)
            and (not self.scopes or key.scope in self.scopes)
        )


_BYTES, _PERCENT, _RATE = ("bytes",), ("percent",), ("bytes_per_second",)
SPECS = (
    ChartSpec("gpu-use", "GPU utilization", "utilization", r"^gpu.*util", _PERCENT, device=True, top=100),
    ChartSpec("gpu-busy", "GPU memory bus busy", "memory bus", r"^gpu.*busy", _PERCENT, device=True, top=100),
    ChartSpec(
        "gpu-memory-run",
        "GPU memory by user",
        "memory by user",
        r"^gpu_(run|others)_mem",
        _BYTES,
        device=True,
    ),
    ChartSpec("gpu-memory", "GPU memory", "memory", r"^gpu.*memory", _BYTES, device=True),
    ChartSpec("gpu-power", "GPU power", "power", r"^gpu.*power", ("watts",), device=True),
    ChartSpec(
        "gpu-memory-temperature",
        "GPU memory temperature",
        "memory temperature",
        r"^gpu_mem.*temp",
        device=True,
    ),
    ChartSpec("gpu-temperature", "GPU temperature", "temperature", r"^gpu.*temp", ("celsius",), device=True),
    ChartSpec(
        "gpu-memory-clock", "GPU memory clocks", "memory clock", r"^gpu_mem.*clock", ("hertz",), device=True
    ),
    ChartSpec("gpu-clock", "GPU clocks", "clock", r"^gpu.*clock", ("hertz",), device=True),
    ChartSpec("gpu-pcie", "GPU transfers over PCIe", "PCIe", r"^gpu.*(pcie|nvlink)", _RATE, device=True),
    ChartSpec("gpu-fan", "GPU fans", "fan", r"^gpu.*fan", _PERCENT, device=True, top=100),
    ChartSpec("gpu-errors", "GPU memory errors (ECC)", "ECC errors", r"^gpu.*ecc", ("count",), device=True),
    ChartSpec("pressure", "Time in which tasks waited (PSI)", "waited for", r"pressure|psi", _PERCENT),
    ChartSpec("throttle", "CPU throttling of the control group", "throttling", r"throttl", _PERCENT),
    ChartSpec(
        "cpu-run",
        "CPU of the run's processes (100 % is one core)",
        "run's CPU",
        r"cpu",
        _PERCENT,
        ("process",),
    ),
    ChartSpec("cpu", "CPU", "CPU", r"cpu|core", _PERCENT, top=100),
    ChartSpec("cpu-cores", "CPU cores that the control group used", "cores", r"cpu", ("cores",)),
    ChartSpec("load", "Load", "load", r"load"),
    ChartSpec(
        "memory-run",
        "Memory of the run and of its control group",
        "run",
        r"memory|rss|pss|shm",
        _BYTES,
        ("process", "cgroup"),
    ),
    ChartSpec("memory", "Memory of the machine", "machine", r"memory|swap|shm", _BYTES, ("host", "")),
    ChartSpec("disk", "Disk traffic", "disk", r"disk|read|write", _RATE),
    ChartSpec("disk-space", "Disk space", "disk space", r"disk|free|space", _BYTES),
    ChartSpec("network", "Network traffic", "network", r"net", _RATE),
    ChartSpec("processes", "Processes, threads and open files of the run", "run", r"^run_", ("count",)),
)


def assigned(keys: Iterable[SeriesKey]) -> list[tuple[ChartSpec, list[SeriesKey]]]:
    """The charts with their figures; those that no chart takes have one for each name and unit."""
    by_spec: dict[ChartSpec, list[SeriesKey]] = {spec: [] for spec in SPECS}
    others: dict[tuple[str, str], list[SeriesKey]] = {}
    for key in sorted((one for one in keys if one.unit not in _NOT_DRAWN), key=_order):
        spec = next((one for one in SPECS if one.takes(key)), None)
        if spec is not None:
            by_spec[spec].append(key)
        else:
            others.setdefault((key.name, key.unit), []).append(key)
    found = [(spec, list(members)) for spec, members in by_spec.items() if members]
    for number, ((name, _), members) in enumerate(others.items()):
        title = _WORDS.sub(lambda word: word[0].upper(), name.replace("_", " ").capitalize())
        found.append((ChartSpec(f"other-{number}", title, title, re.escape(name)), members))
    return found


def is_limit(key: SeriesKey) -> bool:
    """Whether a figure is a bound of others, and drawn as such."""
    return _LIMIT.search(key.name) is not None


def line_names(keys: Sequence[SeriesKey], devices: dict[tuple[str, str], str]) -> list[str]:
    """What the lines of one chart are called, by what distinguishes them.

    Args:
        keys: of the chart.
        devices: what a device of a server is called.
    """
    one_name = len({key.name for key in keys if not is_limit(key)}) == 1
    one_server = len({key.server for key in keys}) == 1
    names = []
    for key in keys:
        device = devices.get((key.server, key.device), key.device)
        words = "" if one_name and device and not is_limit(key) else _plain(key.name)
        parts = ["" if one_server else f"{key.server}:", device, words]
        names.append(" ".join(part for part in parts if part))
    return names


def device_names(keys: Iterable[SeriesKey]) -> dict[tuple[str, str], str]:
    """Short names of the GPUs of each server, in the order of their first figures; others keep theirs."""
    names: dict[tuple[str, str], str] = {}
    counts: dict[str, int] = {}
    for key in keys:
        if key.name.startswith("gpu") and key.device and (key.server, key.device) not in names:
            number = counts.get(key.server, 0)
            counts[key.server] = number + 1
            names[key.server, key.device] = f"GPU {number}"
    return names


def _plain(name: str) -> str:
    shorter = _NAMES.get(name, name)
    while (cut := _REDUNDANT.sub("", shorter)) != shorter and cut:
        shorter = cut
    return shorter.replace("_", " ")


def _order(key: SeriesKey) -> tuple[bool, str, bool, str, tuple[int, str]]:
    digits = int(key.device) if key.device.isdecimal() else 0
    return (key.server != "localhost", key.server, is_limit(key), key.name, (digits, key.device))
