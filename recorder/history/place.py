"""The place of a record's file: what its file system carries, who writes there, what is set aside."""

import ctypes
import errno
import fcntl
import logging
import os
import struct
from pathlib import Path

from pylon.recorder.history.errors import HistoryBusyError
from pylon.storage import UNSUPPORTED, open_unlinked

logger = logging.getLogger(__name__)

# WAL needs memory that all processes share through a file, so a file system of this host
# (https://sqlite.org/wal.html). NFS, SMB, FUSE, 9p, virtiofs and what is unknown get a rollback journal.
WITH_WAL = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "tmpfs", "ramfs", "overlay"}
)
# `f_type` of statfs(2), from linux/magic.h, for mounts that are not shown: in a chroot, that of its root.
_TYPES = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x2FC12FC1: "zfs",
    0xF2F52010: "f2fs",
    0xCA451A4E: "bcachefs",
    0x3153464A: "jfs",
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0x794C7630: "overlay",
}
_STATFS_BYTES = 256
# struct flock of fcntl(2): type, whence, start, length, pid.
_LOCK = struct.Struct("hhqqi4x")
# What SQLite keeps next to the file.
SIDE_FILES = ("-wal", "-shm", "-journal")


def file_system(folder: Path) -> str | None:
    """The type of the file system that holds `folder`, as in /proc/self/mountinfo; None if it is unknown.

    Of an overlay, it is the type of its upper layer, which holds what is written; 'overlay' if that cannot be
    seen, as in a container.
    """
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        mount = _mount_of(Path(f"/proc/self/fdinfo/{descriptor}").read_text())
        mounts = Path("/proc/self/mountinfo").read_text()
        kind, options = _type_of(mount, mounts) if mount is not None else (None, "")
        kind = kind or _TYPES.get(_magic_of(descriptor))
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
    if kind == "overlay":
        upper = next((one[9:] for one in options.split(",") if one.startswith("upperdir=")), "")
        return (file_system(Path(upper)) if upper.startswith("/") else None) or kind
    return kind


def _magic_of(descriptor: int) -> int:
    """What the file system calls its type; 0 if it cannot be asked."""
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if ctypes.CDLL(None).fstatfs(descriptor, found):
        return 0
    # The first field, of the width of a register, whose upper half is not used.
    return int(ctypes.c_uint32.from_buffer(found).value)


def _mount_of(fdinfo: str) -> str | None:
    return next((line.split()[1] for line in fdinfo.splitlines() if line.startswith("mnt_id:")), None)


def _type_of(mount: str, mountinfo: str) -> tuple[str | None, str]:
    for line in mountinfo.splitlines():
        number, _, rest = line.partition(" ")
        if number == mount:
            kind, _, options = rest.partition(" - ")[2].split(" ", 2)
            return kind, options
    return None, ""


class WriterLock:
    """The one writer of a file, by a lock on `FILE.lock`, which ends with the process that holds it.

    Attributes:
        has_locks: whether the file system has locks; without them nothing keeps a second writer away.
    """

    def __init__(self, path: Path) -> None:
        self.has_locks = True
        lock = path.with_name(f"{path.name}.lock")
        self._descriptor: int | None = open_unlinked(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # SQLite's own are of this kind; some file systems have only one of both.
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in UNSUPPORTED:
                self.has_locks = False
                return
            self.close()
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                raise HistoryBusyError(
                    path, "another process records into it", "Record into another folder, or end that process"
                ) from error
            raise

    def close(self) -> None:
        """Let another process write."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_written(path: Path) -> bool:
    """Whether another process is the writer of a file, also one that is not shown here, as in a container."""
    try:
        descriptor = os.open(
            path.with_name(f"{path.name}.lock"),
            os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW,
        )
    except OSError:
        return False
    try:
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return bool(_LOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename a damaged file and what belongs to it, so that `sqlite3 FILE .recover` finds all of it.

    Returns:
        Its new path.

    Raises:
        OSError: it cannot be renamed.
    """
    number = 1
    while path.with_name(f"{path.name}.damaged-{number}").exists():
        number += 1
    kept = path.with_name(f"{path.name}.damaged-{number}")
    # The file itself last: what is left of its journal must not be applied to the next one.
    for side in SIDE_FILES:
        old = path.with_name(path.name + side)
        if old.exists():
            old.replace(kept.with_name(kept.name + side))
    path.replace(kept)
    return kept
