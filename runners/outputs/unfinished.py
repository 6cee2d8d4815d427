"""What a resumed run writes again is removed from a file of lines, without reading all of it."""

import json
import os
from pathlib import Path
from typing import BinaryIO

from pylon.storage import open_unlinked

Position = tuple[int, int]
_LONGEST_LINE = 1 << 20


def drop_unfinished_epochs(path: Path, finished: int, steps: int = 0) -> None:
    """Remove the lines that a resumed run will write again, and a line torn by a kill.

    The lines are in the order of epochs and steps, so that the place is found by bisection: a file of any
    length costs a few dozen reads, and is cut in place.

    Args:
        path: a file of JSON lines with 'epoch' and, unless it has one line per epoch, 'step'; nothing
            happens if it is absent.
        finished: number of finished epochs; of epoch `finished` only the first `steps` lines stay.
        steps: steps of the unfinished epoch that the run resumes after.
    """
    if not path.exists():
        return
    with os.fdopen(open_unlinked(path, os.O_RDWR), "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = _end_of_lines_before(file, (finished, steps), size)
        file.truncate(end)
        if end and _byte_before(file, end) != b"\n":
            file.seek(end)
            file.write(b"\n")
        file.flush()
        os.fsync(file.fileno())


def steps_noted(path: Path) -> int | None:
    """How many steps a run had done at the last line of a file of step lines; 0 if there is none.

    None if that line does not say: an earlier version wrote it.
    """
    if not path.exists():
        return 0
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_LINE))
        lines = file.read().splitlines()
    if not lines:
        return 0
    try:
        step = json.loads(lines[-1])["global_step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return step + 1 if type(step) is int else None


def _end_of_lines_before(file: BinaryIO, position: Position, size: int) -> int:
    """Where the first line begins that is of `position` or later, or torn; `size` if there is none."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        file.seek(_begin_of_line(file, middle))
        found = _next_position(file)
        if found is not None and found < position:
            low = middle + 1
        else:
            high = middle
    return _begin_of_line(file, low)


def _begin_of_line(file: BinaryIO, place: int) -> int:
    """Where the first line at `place` or behind it begins; the end of the file if there is none."""
    if place == 0:
        return 0
    file.seek(place - 1)
    file.readline()
    return file.tell()


def _next_position(file: BinaryIO) -> Position | None:
    """The position of the next line that can be read, None if there is none."""
    for line in iter(file.readline, b""):
        try:
            content = json.loads(line)
            epoch, step = content["epoch"], content.get("step", 0)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # the last one can be torn: the file is written front to back by one process
        if type(epoch) is int and type(step) is int:
            return epoch, step
    return None


def _byte_before(file: BinaryIO, place: int) -> bytes:
    file.seek(place - 1)
    return file.read(1)
