"""What the configuration of ssh comes to for one server, whichever way it was read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Answer:
    """Keywords and their values for one server.

    Attributes:
        values: by keyword in lower case; one text for each time that it counts.
        files: all files that were read.
        changes_by_itself: something besides the files decided: a program (Match exec) or the DNS.
    """

    values: Mapping[str, Sequence[str]]
    files: tuple[Path, ...] = ()
    changes_by_itself: bool = False

    def all(self, keyword: str) -> tuple[str, ...]:
        """All values of a keyword."""
        return tuple(self.values.get(keyword, ()))

    def first(self, keyword: str) -> str | None:
        """The value of a keyword that takes one; None: it is not set, or to "none"."""
        found = self.values.get(keyword)
        return None if not found or found[0].lower() == "none" else found[0]

    def yes(self, keyword: str) -> bool:
        """The value of a keyword that takes yes or no."""
        return (self.first(keyword) or "no").lower() in {"yes", "true"}

    def words(self, keyword: str) -> tuple[str, ...] | None:
        """The value of a keyword that takes a list with commas; None: it is not set."""
        found = self.first(keyword)
        return None if found is None else _split(found)


@lru_cache(maxsize=256)
def _split(text: str) -> tuple[str, ...]:
    """One object for all servers with the same list, of which there are thousands."""
    return tuple(text.split(","))
