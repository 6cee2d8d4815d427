"""What a file system cannot do that a run directory uses: tried once, and said in one line."""

import contextlib
import fcntl
import secrets
from pathlib import Path

from pylon.storage.atomic import UNSUPPORTED, sync_folder


def missing_features(folder: Path) -> list[str]:
    """What `folder`'s file system lacks, each with what follows from it; [] on common local file systems.

    Raises:
        OSError: the folder cannot be written.
    """
    missing = []
    if not _has_links(folder):
        missing.append(
            "symbolic links (checkpoint_latest.pt and checkpoint_best.pt are hard links or copies)"
        )
    if not sync_folder(folder):
        missing.append("fsync of folders (a power cut may lose the newest files)")
    if not _has_locks(folder):
        missing.append("file locks (a second run in this directory would not be noticed)")
    return missing


def _has_links(folder: Path) -> bool:
    probe = folder / f".link.{secrets.token_hex(8)}.tmp"
    try:
        probe.symlink_to("nowhere")
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


def _has_locks(folder: Path) -> bool:
    probe = folder / f".lock.{secrets.token_hex(8)}.tmp"
    try:
        with probe.open("w") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return True
