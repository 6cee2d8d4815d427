"""Where the record of a command is, and what it is called."""

import contextlib
import itertools
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from pylon.recorder.node import Ranks
from pylon.storage import refuse_planted

FOLDER = Path("pylon-records")
_LONGEST_NAME = 60
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def name_of(words: Sequence[str]) -> str:
    """What a command is called: by its script if it has one."""
    script = next((word for word in words if word.endswith(".py")), words[0])
    text = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(script).name.removesuffix(".py"))[:_LONGEST_NAME]
    return text.lstrip("-.") or "command"


class Place:
    """The folder of a record, and what had to be made for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[Path] = []

    def make(self, *, exist_ok: bool) -> None:
        """Make the folder.

        Raises:
            PlantedError: another user may have put it there.
            FileExistsError: it is there, and may not be.
            OSError: it cannot be made.
        """
        refuse_planted(self.folder)
        missing = [one for one in (self.folder, *self.folder.parents) if not one.exists()]
        self.folder.mkdir(parents=True, exist_ok=exist_ok)
        self._made = missing

    def remove(self) -> None:
        """Remove again what was made and is empty."""
        for one in self._made:
            with contextlib.suppress(OSError):
                one.rmdir()


def new_place(name: str, ranks: Ranks, host: str) -> Place:
    """A new folder for one record; the processes of one launcher on a machine get the same.

    Raises:
        PlantedError: another user may have put it there.
        OSError: it cannot be made.
    """
    together = ranks.ranks is not None
    began_s = _started_s(os.getppid()) if together else time.time()
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(began_s))}"
    stem += f"-{host}" if ranks.several_nodes else ""
    for number in itertools.count(1):
        place = Place(FOLDER / (stem if number == 1 else f"{stem}-{number}"))
        with contextlib.suppress(FileExistsError):
            place.make(exist_ok=together)
            return place
    raise AssertionError("itertools.count has an end")


def given_place(folder: Path) -> Place:
    """A folder that the user names.

    Raises:
        PlantedError: another user may have put it there.
        OSError: it cannot be made.
    """
    place = Place(folder)
    place.make(exist_ok=True)
    return place


def _started_s(pid: int) -> float:
    """When a process started, as Unix time; now if that is not known."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return time.time()
    # Rounded: the siblings that ask for it do so at different times.
    return round(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / _TICKS_PER_S)
