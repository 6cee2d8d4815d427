"""The folder of decoded copies: whose it is, how much is in it, and what leaves it for something newer."""

import os
import shutil
import stat
import time
from pathlib import Path

from pylon.storage import refuse_planted

SUFFIX = ".arrays"
_MIB = 2**20

_LEFT_FREE_BYTES = 2**30
_LOOKED_AT_EVERY_S = 60.0
_STAYS_S = 24 * 3600.0
_STALE_S = 3600.0


class UnusableFolderError(OSError):
    """The folder cannot be used; the text says why, and what to do."""


class DecodedFolder:
    """Files that are made again if they are removed.

    Args:
        path: of the folder.
        capacity_bytes: of all files together.
    """

    def __init__(self, path: Path, capacity_bytes: int) -> None:
        self.path = path
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self._looked_s: float | None = None

    def provide(self) -> None:
        """Make the folder, or see that what is there is ours alone to write.

        Raises:
            OSError: it cannot be made, or others can write there.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_planted(self.path)
        status = self.path.stat()
        if status.st_uid != os.geteuid():
            raise UnusableFolderError(
                f"{self.path}: belongs to uid {status.st_uid}. Name a folder of your own"
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UnusableFolderError(f"{self.path}: others can write there: chmod go-w {self.path}")

    def why_no_room(self, wanted_bytes: int) -> str:
        """Why there is no room for a file, after the removal of what was not used for a day; '' if there is.

        Raises:
            OSError: the folder cannot be listed.
        """
        now_s = time.time()
        if self._looked_s is None or now_s - self._looked_s > _LOOKED_AT_EVERY_S:
            self._look(now_s)
        if self.used_bytes + wanted_bytes > self.capacity_bytes:
            self._look(now_s, self.used_bytes + wanted_bytes - self.capacity_bytes)
        if self.used_bytes + wanted_bytes > self.capacity_bytes:
            return (
                f"has {self.used_bytes // _MIB} MiB of at most {self.capacity_bytes // _MIB} MiB, all used "
                "within a day"
            )
        free_bytes = shutil.disk_usage(self.path).free
        if free_bytes - wanted_bytes < _LEFT_FREE_BYTES:
            return (
                f"the disk has {free_bytes // _MIB} MiB left, of which {_LEFT_FREE_BYTES // _MIB} stay free"
            )
        return ""

    def note_added(self, added_bytes: int) -> None:
        """Count a file that was written."""
        self.used_bytes += added_bytes

    def _look(self, now_s: float, too_many_bytes: int = 0) -> None:
        """Add up what is there; remove what killed writers left, and what was not used for longest."""
        files: list[tuple[float, int, str]] = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # another process has removed it
                age_s = now_s - status.st_mtime
                if entry.name.startswith(".") and entry.name.endswith(f".tmp{SUFFIX}") and age_s > _STALE_S:
                    Path(entry.path).unlink(missing_ok=True)
                elif stat.S_ISREG(status.st_mode):
                    files.append((status.st_mtime, status.st_size, entry.path))
        self._looked_s = now_s
        self.used_bytes = sum(size for _, size, _ in files)
        for used_s, size, name in sorted(files):
            if too_many_bytes <= 0 or now_s - used_s < _STAYS_S:
                break
            Path(name).unlink(missing_ok=True)
            self.used_bytes -= size
            too_many_bytes -= size
