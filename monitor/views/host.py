"""One server in full."""

from pylon.monitor.status import CPUStatus, GPUSample, GPUStatus
from pylon.monitor.status.record import observation_record, record_text
from pylon.monitor.system import SystemSnapshot
from pylon.monitor.text import printable
from pylon.monitor.views.text import gib, number, percent

_VALUES_SHOWN = 8


def host_lines(snapshot: SystemSnapshot, server: str) -> list[str]:
    """All that a person wants to know about one server."""
    cpu, gpu = snapshot.cpu.get(server), snapshot.gpu.get(server)
    lines = []
    if cpu is not None and cpu.status is not None:
        lines += _cpu_lines(cpu.status)
    if gpu is not None and gpu.status is not None:
        lines += gpu_lines(gpu.status)
    return lines + other_lines(snapshot, server)


def other_lines(snapshot: SystemSnapshot, server: str) -> list[str]:
    """A line per further monitor that reads the server: its values, or why there are none."""
    lines = []
    for name, by_server in snapshot.others.items():
        seen = by_server.get(server)
        if seen is not None:
            lines.append(printable(f"{name}: {record_text(observation_record(seen), _VALUES_SHOWN)}"))
    return lines


def _cpu_lines(status: CPUStatus) -> list[str]:
    sample = status.sample
    cores = len(sample.core_percent or ())
    lines = [
        f"CPU     {percent(sample.cpu_percent)} of {cores or '?'} cores, load {number(sample.load_1m, 2)}",
        f"memory  {gib(sample.memory_used_bytes)} of {gib(sample.memory_total_bytes)} GiB, "
        f"swap {gib(sample.swap_used_bytes)} GiB",
    ]
    if sample.cgroup is not None and sample.cgroup.memory_limit_bytes is not None:
        group = sample.cgroup
        lines.append(
            f"cgroup  {gib(group.memory_used_bytes)} of {gib(group.memory_limit_bytes)} GiB, "
            f"working set {gib(group.memory_working_set_bytes)} GiB"
        )
    return lines


def gpu_lines(status: GPUStatus) -> list[str]:
    """A line per GPU, or one that says why there is none."""
    if status.released:
        return ["GPU     driver released on request"]
    if status.absence is not None and not status.gpus:
        why = f": {printable(status.error)}" if status.error else ""
        return [f"GPU     none to show: {status.absence.value}{why}"]
    lines = [gpu_line(place, gpu, in_full=True) for place, gpu in enumerate(status.gpus)]
    message = [f"GPU     {printable(status.error)}"] if status.error and lines else []
    return lines + message or ["GPU     none visible"]


def gpu_line(place: int, gpu: GPUSample, *, in_full: bool = False) -> str:
    """One GPU; in full if the line may be longer than a terminal is wide."""
    memory_temperature = number(gpu.memory_temperature_c, unit=" °C")
    has_more = in_full and gpu.memory_temperature_c is not None
    figures = [
        percent(gpu.utilization_percent),
        f"{gib(gpu.memory_used_bytes)} of {gib(gpu.memory_total_bytes)} GiB",
        number(gpu.power_w, unit=" W"),
        number(gpu.temperature_c, unit=" °C") + (f" (memory {memory_temperature})" if has_more else ""),
    ]
    users = sorted({one.owner_name or one.name or str(one.pid) for one in gpu.processes or () if one.compute})
    used = f", used by {printable(', '.join(users))}" if users else ""
    return f"GPU {place}   {printable(gpu.name or gpu.uuid)}: {', '.join(figures)}{used}"
