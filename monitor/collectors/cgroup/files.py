"""Where the control group of a process is, and the numbers in its files.

Fetching a file is left to the caller: on this machine it is opened, of a server the far shell sent it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pylon.monitor.status.values import Absence

_MOST_DIGITS = 20

# The content of the file at a path, or why it cannot be read.
Read = Callable[[str], str | Absence]


@dataclass(frozen=True, slots=True)
class Group:
    """A process's place in one hierarchy.

    Attributes:
        version: 1 or 2.
        levels: its folder and those above it that can be seen.
        to_root: whether these go up to the root: then a limit that none of them has does not exist.
    """

    version: int
    levels: tuple[str, ...]
    to_root: bool = True

    @property
    def own(self) -> str:
        """The group's own folder."""
        return self.levels[0]

    def named(self, v2: str, v1: str) -> str:
        """The name of a file in this version."""
        return v2 if self.version == 2 else v1


class GroupsOf(Protocol):
    """The groups of one process, by controller."""

    def of(self, controller: str) -> Group | None:
        """The group that `controller` accounts; None if it cannot be seen."""

    @property
    def unified(self) -> Group | None:
        """The group in version 2's hierarchy."""


def integer(text: str) -> int | Absence:
    """A whole number, which may be negative; UNREACHABLE for any other text."""
    digits = text.removeprefix("-")
    valid = digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS
    return int(text) if valid else Absence.UNREACHABLE


def number(text: str | Absence, least: int = 0) -> int | Absence:
    """The one number in a file; UNREACHABLE below `least`."""
    value = text if isinstance(text, Absence) else integer(text.strip())
    return value if isinstance(value, Absence) or value >= least else Absence.UNREACHABLE


def pairs(text: str | Absence) -> dict[str, int] | Absence:
    """A file of lines 'name number'; other lines are passed over."""
    if isinstance(text, Absence):
        return text
    rows = (line.split() for line in text.splitlines())
    values = {row[0]: integer(row[1]) for row in rows if len(row) == 2}
    return {name: value for name, value in values.items() if not isinstance(value, Absence) and value >= 0}


def entry(values: dict[str, int] | Absence, name: str) -> int | Absence:
    """One number of `pairs`; UNSUPPORTED if the kernel does not write it."""
    return values if isinstance(values, Absence) else values.get(name, Absence.UNSUPPORTED)
