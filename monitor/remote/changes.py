"""Whether the user has acted: the files that decide over a login, by their times."""

from collections.abc import Sequence
from pathlib import Path

# Of one file: None where it is not there.
Stamp = tuple[int, int, int] | None


def stamps(files: Sequence[Path]) -> tuple[Stamp, ...]:
    """What changes when one of `files` is written, replaced, made or removed."""
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> Stamp:
    try:
        seen = file.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
