"""The list of processes: users of GPUs, and each host's busiest, with who started whom."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pylon.masking import masked_words
from pylon.views.sources.servers import ServerNow
from pylon.views.terminal.columns import Column

_HIGHEST = 20


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """A process of a server; what is not known is None."""

    server: str
    pid: int
    user: str | None = None
    gpus: tuple[int, ...] = ()
    gpu_memory: int | None = None
    cpu: float | None = None
    memory: int | None = None
    of_run: bool | None = None
    command: str | None = None
    depth: int = 0


def process_lines(
    servers: Iterable[ServerNow], parents: Mapping[int, int] | None = None
) -> list[ProcessLine]:
    """All that are known, those of a server together; in a tree if parents are known.

    Args:
        servers: of the picture.
        parents: the parent of each process of this machine; None: no tree.
    """
    found: list[ProcessLine] = []
    for server in servers:
        of_server = list(_of_server(server).values())
        found += of_server if parents is None else in_tree(of_server, parents)
    return found


def _of_server(server: ServerNow) -> dict[int, ProcessLine]:
    found: dict[int, ProcessLine] = {}
    for gpu in server.gpus:
        for one in gpu.processes or ():
            before = found.get(one.pid) or ProcessLine(server.name, one.pid)
            held = [each for each in (before.gpu_memory, one.memory_used_bytes) if each is not None]
            found[one.pid] = dataclasses.replace(
                before,
                user=one.owner_name or (None if one.owner_uid is None else str(one.owner_uid)),
                gpus=(*before.gpus, gpu.place),
                gpu_memory=sum(held) if held else None,
                of_run=one.of_run,
                command=_masked(one.command) or one.name,
            )
    status = server.cpu
    for top in (status.sample.top_processes if status is not None else None) or ():
        before = found.get(top.pid) or ProcessLine(server.name, top.pid)
        found[top.pid] = dataclasses.replace(
            before,
            user=before.user or top.user,
            cpu=top.cpu_percent,
            memory=top.rss_bytes,
            of_run=before.of_run or top.of_run,
            command=before.command or top.name,
        )
    return found


def _masked(command: str | None) -> str | None:
    return None if command is None else " ".join(masked_words(command.split()))


def in_tree(lines: Sequence[ProcessLine], parents: Mapping[int, int]) -> list[ProcessLine]:
    """The lines, each below its nearest ancestor that is one of them."""
    shown = {line.pid for line in lines}
    below: dict[int, list[ProcessLine]] = {}
    for line in lines:
        below.setdefault(_ancestor(line.pid, shown, parents), []).append(line)
    found: list[ProcessLine] = []
    waiting = [(line, 0) for line in reversed(below.get(0, []))]
    while waiting:
        line, depth = waiting.pop()
        found.append(dataclasses.replace(line, depth=depth))
        waiting += [(child, depth + 1) for child in reversed(below.get(line.pid, []))]
    return found


def _ancestor(pid: int, shown: set[int], parents: Mapping[int, int]) -> int:
    at = pid
    for _ in range(_HIGHEST):
        at = parents.get(at, 0)
        if at in shown and at != pid:
            return at
    return 0


def parents_of(pids: Iterable[int]) -> dict[int, int]:
    """The parents of processes of this machine, and theirs; without those that are gone."""
    found: dict[int, int] = {}
    for pid in pids:
        at = pid
        for _ in range(_HIGHEST):
            if at in found or at <= 1:
                break
            parent = _parent(at)
            if parent is None:
                break
            found[at] = at = parent
    return found


def _parent(pid: int) -> int | None:
    try:
        # The name, in parentheses, can contain anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        return int(fields.split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _command(line: ProcessLine) -> str:
    return "  " * min(line.depth, 10) + ("- " if line.depth else "") + (line.command or "?")


PROCESSES: tuple[Column[ProcessLine], ...] = (
    Column("server", "Server", 14, lambda row: row.server, aliases=("host",)),
    Column("pid", "PID", 8, lambda row: float(row.pid), "count", lambda row: str(row.pid)),
    Column("user", "User", 10, lambda row: row.user),
    Column("gpu", "GPU", 5, lambda row: float(row.gpus[0]) if row.gpus else None, "count",
           lambda row: ",".join(map(str, row.gpus))),
    Column("gpu_mem", "GPU mem", 7, lambda row: row.gpu_memory, "bytes"),
    Column("cpu", "CPU", 6, lambda row: row.cpu, "percent", aliases=("util",)),
    Column("mem", "Memory", 7, lambda row: row.memory, "bytes"),
    Column("of_run", "Of run", 6, lambda row: {True: "yes", False: "no", None: None}[row.of_run], wide=True),
    Column("command", "Command", 0, lambda row: row.command, show=_command),
)  # fmt: skip
