"""What files hold, in one short text: each is read once in a process, unless it changes."""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

# Two changes within this time may leave the same times on a file (FAT: 2 s).
_TICK_NS = 2 * 10**9
_FOREIGN = frozenset({"builtins", "abc", "typing", "torch"})


class UnknownSourceError(OSError):
    """The code that decodes cannot be read; the text names it."""


class _Look(NamedTuple):
    """What a change of a file changes: `touch` cannot set the time of the inode's change."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class ContentDigests:
    """SHA-256 (FIPS 180-4) of files."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[_Look, str]] = {}

    def of(self, path: Path) -> str:
        """The digest of what the file holds now. Raises OSError if it cannot be read."""
        known = self._known.get(path)
        if known is not None and known[0] == _look(path.stat()):
            return known[1]
        with path.open("rb") as file:
            look = _look(os.fstat(file.fileno()))
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            stayed = look == _look(os.fstat(file.fileno()))
        is_old = abs(time.time_ns() - max(look.modified_ns, look.changed_ns)) > _TICK_NS
        if stayed and is_old:
            self._known[path] = look, digest
        return digest


def code_files(owner: type, function: Callable[..., object]) -> list[Path]:
    """The files that define a class with its bases and a function; without those of Python and torch.

    Raises:
        UnknownSourceError: one is defined in no file, as in a notebook.
    """
    bases = [cls for cls in owner.__mro__ if cls.__module__.partition(".")[0] not in _FOREIGN]
    places = {cls.__qualname__: getattr(sys.modules.get(cls.__module__), "__file__", None) for cls in bases}
    places[function.__qualname__] = getattr(getattr(function, "__code__", None), "co_filename", None)
    unknown = [name for name, place in places.items() if place is None or not Path(place).is_file()]
    if unknown:
        raise UnknownSourceError(
            f"{unknown[0]} is defined in no file, so a change of it would not be seen. Put it into a module"
        )
    return sorted({Path(place) for place in places.values() if place is not None})


def joined(texts: Iterable[str]) -> str:
    """One digest of several texts."""
    whole = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        whole.update(len(content).to_bytes(8, "little") + content)
    return whole.hexdigest()


def package_files(folder: Path) -> Sequence[Path]:
    """The Python files of a package."""
    return sorted(folder.rglob("*.py"))


def _look(status: os.stat_result) -> _Look:
    return _Look(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
