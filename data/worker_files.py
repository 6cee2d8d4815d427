"""The temporary folder in which loader workers hand over shared memory: removed, whatever ends the run.

Each worker would make a folder `pymp-...` of its own, and leave it if it is killed. Workers inherit the
folder of the process that loads instead, which Python removes at its exit. If that is killed too, the next
process that loads removes it: the kernel opens the lock in it with the last process that holds it.
"""

import contextlib
import fcntl
import multiprocessing.util
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from pylon.storage import refuse_planted

_LOCK = "pylon-in-use"


def share_temporary_folder() -> None:
    """Let the workers that this process starts use its folder, and remove those that killed ones have left.

    Raises:
        OSError: there is no room for a folder, or another user has taken its name.
    """
    _remove_left_behind()
    folder = Path(multiprocessing.util.get_temp_dir())
    # A long run may find it removed by what clears the temporary folder of the machine.
    folder.mkdir(mode=0o700, exist_ok=True)
    refuse_planted(folder)
    if not (folder / _LOCK).exists():
        _lock(folder)


def _lock(folder: Path) -> None:
    """Keep others from removing the folder until this process and its workers have ended."""
    unnamed = folder / f"{_LOCK}.{secrets.token_hex(8)}"
    # Left open on purpose: the kernel closes it. A record lock would end with the next look at the file.
    fcntl.flock(os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), fcntl.LOCK_EX)
    # Whoever sees the name sees it locked.
    unnamed.rename(folder / _LOCK)


def _remove_left_behind() -> None:
    for lock in Path(tempfile.gettempdir()).glob(f"pymp-*/{_LOCK}"):
        # It may be in use, of another user, or removed by another process in this moment.
        with contextlib.suppress(OSError):
            if lock.parent.is_symlink() or lock.parent.stat().st_uid != os.geteuid():
                continue
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent)
