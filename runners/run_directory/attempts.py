"""Attempts at one run, next to each other: `work_dir`, `work_dir-fresh-1`, `-2`, ..."""

import re
from dataclasses import dataclass
from pathlib import Path

from pylon.storage import PlantedError, refuse_planted


@dataclass(frozen=True)
class Attempts:
    """The attempts that a folder holds.

    Attributes:
        work_dir: the first one.
        numbers: of the `--fresh` ones that can be used, in order.
        planted: why others are passed over.
        taken: the highest number of all.
    """

    work_dir: Path
    numbers: tuple[int, ...]
    planted: tuple[str, ...]
    taken: int

    @property
    def newest(self) -> Path:
        """The one that a plain command resumes: the last `--fresh` one, else `work_dir` itself."""
        return _fresh_path(self.work_dir, self.numbers[-1]) if self.numbers else self.work_dir

    @property
    def fresh(self) -> Path:
        """One that is not there yet: `work_dir`, else the next `--fresh` one."""
        is_first = self.taken == 0 and not self.work_dir.exists()
        return self.work_dir if is_first else _fresh_path(self.work_dir, self.taken + 1)


def attempts_at(work_dir: Path) -> Attempts:
    """The attempts next to `work_dir`; those that another user may have planted are passed over."""
    pattern = re.compile(re.escape(work_dir.name) + r"-fresh-(\d+)")
    names = (path.name for path in work_dir.parent.iterdir()) if work_dir.parent.is_dir() else ()
    found = sorted(int(match[1]) for match in map(pattern.fullmatch, names) if match)
    planted: dict[int, str] = {}
    for number in found:
        try:
            refuse_planted(_fresh_path(work_dir, number))
        except PlantedError as error:
            planted[number] = str(error)
    usable = tuple(number for number in found if number not in planted)
    return Attempts(work_dir, usable, tuple(planted.values()), found[-1] if found else 0)


def _fresh_path(work_dir: Path, number: int) -> Path:
    return work_dir.with_name(f"{work_dir.name}-fresh-{number}")
