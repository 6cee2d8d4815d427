"""A fleet as a table: a line per server, and where there is room a line per GPU."""

from collections.abc import Mapping, Sequence

from pylon.monitor.status import Absence, GPUSample, GPUStatus
from pylon.monitor.status.health import MonitorHealth, ServerHealth
from pylon.monitor.status.observation import Observation
from pylon.monitor.system import SystemSnapshot
from pylon.monitor.text import printable
from pylon.monitor.views.host import gpu_line, other_lines
from pylon.monitor.views.text import gib, known_sum, number, percent, seconds

_HEADS = ("server", "state", "age", "CPU", "load", "memory GiB", "GPU", "GPU memory GiB", "")


def table_lines(
    snapshot: SystemSnapshot,
    health: Mapping[str, MonitorHealth],
    servers: Sequence[str],
    size: tuple[int, int] | None = None,
    *,
    notes: bool = True,
) -> list[str]:
    """The table.

    Args:
        snapshot: of SystemMonitor.
        health: of SystemMonitor.
        servers: what to show, in this order.
        size: columns and lines of the terminal; None: no bound. Servers in trouble are kept in view.
        notes: add the newest error of each server; without it they are for `trouble_lines` to show.
    """
    by_server = server_health(health) if notes else {}
    rows = [_row(snapshot, by_server, server) for server in servers]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    lines = [_line(_HEADS, widths)]
    bodies = [[_line(row, widths)] for row in rows]
    detailed = [
        body + _gpus(snapshot, server) + [f"  {line}" for line in other_lines(snapshot, server)]
        for body, server in zip(bodies, servers, strict=True)
    ]
    columns, height = size or (0, 0)
    if not height or 1 + sum(map(len, detailed)) <= height:
        bodies = detailed
    if height and len(bodies) > height - 1:
        bodies = _worst(bodies, [row[1] for row in rows], height - 2)
    lines += [line for body in bodies for line in body]
    return [line[:columns] if columns else line for line in lines]


def trouble_lines(
    snapshot: SystemSnapshot, health: Mapping[str, MonitorHealth], servers: Sequence[str]
) -> list[str]:
    """What is wrong: with servers, with monitors, and with the list of servers itself."""
    by_server = server_health(health)
    lines = []
    for server in servers:
        state = server_state(snapshot, server)
        note = server_note(by_server.get(server)) or driver_message(snapshot, server)
        if state != "ok" or note:
            lines.append(f"{printable(server)}: {state}{': ' if note else ''}{note}")
    lines += [
        printable(f"{name}: {one.state.value}: {one.last_error}")
        for name, one in health.items()
        if one.last_error
    ]
    lines += [
        f"{server}: seems to be the same machine as {other}"
        for server, other in snapshot.same_machine.items()
        if server in servers
    ]
    return lines


def server_health(health: Mapping[str, MonitorHealth]) -> dict[str, ServerHealth]:
    """How readings of each server go: of the monitors that read it, the health of the one in most trouble."""
    found: dict[str, ServerHealth] = {}
    for monitor in health.values():
        for server, one in monitor.servers.items():
            if server not in found or _trouble(one) > _trouble(found[server]):
                found[server] = one
    return found


def _trouble(health: ServerHealth) -> tuple[bool, float]:
    return health.last_error is not None, health.busy_for_s or 0.0


def _row(snapshot: SystemSnapshot, health: Mapping[str, ServerHealth], server: str) -> tuple[str, ...]:
    cpu, gpu = snapshot.cpu.get(server), snapshot.gpu.get(server)
    status = None if cpu is None else cpu.current
    sample = None if status is None else status.sample
    figures = ("", "", "")
    if sample is not None:
        figures = (
            percent(sample.cpu_percent),
            number(sample.load_1m, 2),
            f"{gib(sample.memory_used_bytes)} of {gib(sample.memory_total_bytes)}",
        )
    return (
        printable(server),
        server_state(snapshot, server),
        seconds(None if cpu is None else cpu.age_s),
        *figures,
        *_gpu_figures(None if gpu is None else gpu.current),
        server_note(health.get(server)),
    )


def _gpu_figures(status: GPUStatus | None) -> tuple[str, str]:
    if status is None or not status.gpus:
        return "", ""
    busy = [_is_busy(gpu) for gpu in status.gpus]
    count = str(busy.count(True))
    if None in busy:
        count = f"{count}+" if True in busy else "?"
    used = known_sum(gpu.memory_used_bytes for gpu in status.gpus)
    total = known_sum(gpu.memory_total_bytes for gpu in status.gpus)
    return f"{count} of {len(busy)} busy", f"{gib(used)} of {gib(total)}"


def _is_busy(gpu: GPUSample) -> bool | None:
    """Whether a GPU is in use; None if nothing shows that it is, and not all is known."""
    if gpu.processes or gpu.processes_left_out or (gpu.utilization_percent or 0) > 0:
        return True
    return None if gpu.processes is None else False


def server_state(snapshot: SystemSnapshot, server: str) -> str:
    """Of the host's readings; if these are well, of those of its GPUs, and of further monitors."""
    cpu = snapshot.cpu.get(server)
    if cpu is None:
        return "starting"
    if cpu.absence is not None:
        return cpu.absence.value
    further = {"GPU": _gpu_absence(snapshot.gpu.get(server))}
    for name, by_server in snapshot.others.items():
        seen = by_server.get(server)
        further[name] = None if seen is None else seen.absence
    return next((f"{name} {absence.value}" for name, absence in further.items() if absence), "ok")


def _gpu_absence(seen: Observation[GPUStatus] | None) -> Absence | None:
    """Why no GPU can be shown: its readings are late or fail, or they find a driver that does not answer."""
    if seen is None or seen.absence is not None:
        return None if seen is None else seen.absence
    return None if seen.status is None or seen.status.released else seen.status.trouble


def server_note(health: ServerHealth | None) -> str:
    """The newest error of a server's readings; empty if there is none."""
    return "" if health is None or health.last_error is None else printable(str(health.last_error))


def driver_message(snapshot: SystemSnapshot, server: str) -> str:
    """What the driver prints in place of figures, or among them: of a GPU that is dead, or a warning."""
    seen = snapshot.gpu.get(server)
    status = None if seen is None else seen.current
    if status is None or status.error is None or (status.absence is not None and status.trouble is None):
        return ""
    return printable(status.error)


def _gpus(snapshot: SystemSnapshot, server: str) -> list[str]:
    seen = snapshot.gpu.get(server)
    status = None if seen is None else seen.current
    return [] if status is None else [f"  {gpu_line(place, gpu)}" for place, gpu in enumerate(status.gpus)]


def _worst(bodies: list[list[str]], states: list[str], room: int) -> list[list[str]]:
    """As many servers as there is room for, those in trouble before others, in their order."""
    order = sorted(range(len(bodies)), key=lambda place: states[place] == "ok")
    kept = sorted(order[: max(0, room)])
    return [*(bodies[place] for place in kept), [f"... and {len(bodies) - len(kept)} more"]]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
