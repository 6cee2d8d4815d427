"""/proc/meminfo, of this machine or as a server sends it. A figure that makes no sense costs itself alone.

A container may have a file of its own (lxcfs) with a total of 0, more available than there is, or bytes after
its end. Such figures are unknown, not 0.
"""

from collections.abc import Iterable

from pylon.monitor.collectors.host_figures import Memory, Swap
from pylon.monitor.status.values import Absence

# An exabyte.
_MOST_DIGITS = 15


def memory(lines: Iterable[str]) -> Memory | Absence:
    """What is used, available and there. A kernel before 3.14 does not report what is available."""
    found = _figures(lines)
    total, available = (found.get(name, Absence.UNSUPPORTED) for name in ("MemTotal", "MemAvailable"))
    if isinstance(total, Absence):
        return total
    if total == 0:
        return Absence.UNREACHABLE
    if isinstance(available, Absence):
        return Memory(available, available, total)
    if available > total:
        return Memory(Absence.UNREACHABLE, Absence.UNREACHABLE, total)
    return Memory(total - available, available, total)


def swap(lines: Iterable[str]) -> Swap | Absence:
    """What is used and there; a total of 0 is a machine without."""
    found = _figures(lines)
    total, free = (found.get(name, Absence.UNSUPPORTED) for name in ("SwapTotal", "SwapFree"))
    if isinstance(total, Absence):
        return total
    if isinstance(free, Absence):
        return free
    return Swap(total - free, total) if free <= total else Absence.UNREACHABLE


def _figures(lines: Iterable[str]) -> dict[str, int | Absence]:
    """Bytes by name, of the lines 'name: number kB'."""
    found: dict[str, int | Absence] = {}
    for line in lines:
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon:
            sound = len(words) == 2 and words[1] == "kB" and _is_number(words[0])
            found[name] = int(words[0]) * 1024 if sound else Absence.UNREACHABLE
    return found


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS
