"""The sections of a frame about the host: files of /proc as the kernel writes them.

Each function takes the lines of one section and gives all of it, or raises MalformedError.
"""

import re
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

from pylon.monitor.collectors.host_figures import CoreTimes, busiest
from pylon.monitor.status.cpu import MOST_PROCESSES, TopProcess
from pylon.monitor.status.values import Absence, Side

Value = TypeVar("Value")
Lines = tuple[str, ...]

# USER_HZ: 100 on every architecture on which Linux runs servers.
TICKS_PER_S = 100.0
_SECTOR_BYTES = 512
_MOST_DIGITS = 20
_SYSTEM_NAMES = ("hostname", "kernel", "boot", "uid")
_MOST_NAME_CHARACTERS = 255
_PAGE_BYTES = range(512, 2**24)


class MalformedError(ValueError):
    """A section is not as it must be."""


class Devices(NamedTuple):
    """Names of devices, and whether there is hardware behind each."""

    disks: Mapping[str, bool]
    cards: Mapping[str, bool]


def parsed(lines: Lines | None, parse: Callable[[Lines], Value]) -> Value | Absence:
    """The parsed section; UNSUPPORTED if the far end does not have it, UNREACHABLE on nonsense."""
    if lines is None:
        return Absence.UNSUPPORTED
    try:
        return parse(lines)
    except MalformedError:
        return Absence.UNREACHABLE


def whole(word: str) -> int:
    """A whole number from 0 on. Raises MalformedError."""
    if not (word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS):
        raise MalformedError(word)
    return int(word)


def decimal(word: str) -> float:
    """A finite number from 0 on. Raises MalformedError."""
    if re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?", word, re.ASCII) is None:
        raise MalformedError(word)
    return float(word)


def _words(line: str) -> list[str]:
    words = line.split()
    if not words:
        raise MalformedError("an empty line")
    return words


def core_times(lines: Lines) -> dict[Hashable, CoreTimes]:
    """/proc/stat: CPU seconds of each core that is online, by its name."""
    cores: dict[Hashable, CoreTimes] = {}
    for line in lines:
        name, *words = _words(line)
        if name == "cpu":
            continue
        # user, nice, system, idle, iowait, irq, softirq, steal. Guests are in user and nice (proc(5)).
        ticks = [whole(word) for word in words[:8]]
        if len(ticks) < 4 or name in cores:
            raise MalformedError(line)
        idle = sum(ticks[3:5])
        cores[name] = CoreTimes((sum(ticks) - idle) / TICKS_PER_S, idle / TICKS_PER_S)
    if not cores:
        raise MalformedError("no core")
    return cores


def load(lines: Lines) -> tuple[float, float, float]:
    """/proc/loadavg: mean run queue over 1, 5 and 15 minutes."""
    words = lines[0].split() if len(lines) == 1 else []
    if len(words) < 3:
        raise MalformedError("loadavg")
    return decimal(words[0]), decimal(words[1]), decimal(words[2])


def disk_bytes(lines: Lines) -> dict[str, tuple[int, int]]:
    """/proc/diskstats without its device numbers: bytes read and written, by name."""
    found: dict[str, tuple[int, int]] = {}
    for line in lines:
        name, *words = _words(line)
        if len(words) < 7:
            raise MalformedError(line)
        found[name] = (whole(words[2]) * _SECTOR_BYTES, whole(words[6]) * _SECTOR_BYTES)
    return found


def net_bytes(lines: Lines) -> dict[str, tuple[int, int]]:
    """/proc/net/dev: bytes received and sent, by name."""
    found: dict[str, tuple[int, int]] = {}
    for line in lines:
        # Names may contain a colon themselves (aliases); what follows the last one are numbers.
        name, _, rest = line.rpartition(":")
        words = rest.split()
        if len(words) < 9 or not name.strip():
            raise MalformedError(line)
        found[name.strip()] = (whole(words[0]), whole(words[8]))
    return found


def devices(lines: Lines) -> Devices:
    """Which disks and network cards there are."""
    found: dict[str, dict[str, bool]] = {"disk": {}, "net": {}}
    for line in lines:
        words = line.split()
        if len(words) != 3 or words[0] not in found or words[2] not in ("0", "1"):
            raise MalformedError(line)
        found[words[0]][words[1]] = words[2] == "1"
    return Devices(found["disk"], found["net"])


def system(lines: Lines) -> dict[str, str]:
    """Name of the host, its kernel, the identity of its present run, and the user there; no other lines."""
    found = (line.partition(" ") for line in lines)
    return {
        name: value[:_MOST_NAME_CHARACTERS] for name, _, value in found if value and name in _SYSTEM_NAMES
    }


def top_processes(lines: Lines) -> tuple[float | None, tuple[TopProcess, ...], bool]:
    """When the list was made (uptime), the busiest by CPU, then by memory, and whether others are hidden."""
    head = lines[0].split() if lines else []
    if len(head) not in {4, 5} or head[0] != "at" or head[4:] not in ([], ["hides"]):
        raise MalformedError("top")
    now, former = (None if word == "-" else decimal(word) for word in head[1:3])
    page_bytes = whole(head[3])
    if page_bytes not in _PAGE_BYTES:
        raise MalformedError("page")
    elapsed_s = None if now is None or former is None or former >= now else now - former
    rows = [_process(line, page_bytes, elapsed_s) for line in lines[1:]]
    named = busiest(rows, lambda one: one.cpu_percent or 0.0, lambda one: one.rss_bytes, MOST_PROCESSES)
    return now, tuple(named), len(head) == 5


def _process(line: str, page_bytes: int, elapsed_s: float | None) -> TopProcess:
    words = line.split("\t")
    if len(words) != 6:
        raise MalformedError(line)
    pid, uid, user, pages, ticks, name = words
    used = None if ticks == "-" or elapsed_s is None else 100.0 * whole(ticks) / TICKS_PER_S / elapsed_s
    owner = next((one for one in (user, uid) if one not in ("-", "")), None)
    rss_bytes = whole(pages) * page_bytes
    return TopProcess(whole(pid), name, owner, used, rss_bytes, of_run=False, side=Side.REMOTE)
