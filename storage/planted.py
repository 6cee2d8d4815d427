"""Names that another user may have put in our way: refused, and no link in the place of a file is followed.

Who may have put a name into a folder is whoever can write there. So only in a folder in which all users can
write does it matter whose a name is. The kernel has the same rule for /tmp (fs.protected_symlinks and
fs.protected_regular), where a system has not switched it off.
"""

import contextlib
import errno
import os
import pwd
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

_MOST_LINKS = 40


class PlantedError(PermissionError):
    """A name that another user may have planted, or a link in the place of a file that is written.

    Attributes:
        owner_uid: whose it is.
    """

    def __init__(self, path: Path, status: os.stat_result, problem: str, fix: str) -> None:
        self.owner_uid = status.st_uid
        super().__init__(errno.EACCES, f"{problem} (owner: {_owner(status.st_uid)}). {fix}", str(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def refuse_planted(path: Path) -> None:
    """Refuse a path if another user may have planted it, or a link that leads to it.

    What is not there, and the folders above that are no links, are not judged.

    Raises:
        PlantedError: it may be so.
        OSError: a folder cannot be looked into, or the links have no end.
    """
    for place, status in _way(path):
        if stat.S_ISLNK(status.st_mode):
            _refuse_foreign(place, status)
    if path.exists():
        _refuse_foreign(path.resolve(), path.stat())


def refuse_planted_entry(path: Path) -> None:
    """Refuse what is right at `path`, a link itself too, if another user may have planted it."""
    _refuse_foreign(path, path.lstat())


def refuse_link(path: Path) -> None:
    """Refuse a link, whosever it is, in a place that is written. What is not there is no link.

    Raises:
        PlantedError: it is one.
    """
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            _refuse_as_link(path, status)


def open_unlinked(path: Path, flags: int) -> int:
    """A descriptor of a regular file as `os.open` gives it, if no other user may have planted the file.

    Raises:
        PlantedError: it is a link or another thing than a file, or may be planted.
        OSError: it cannot be opened.
    """
    try:
        # A pipe in its place would make the call wait.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            refuse_link(path)
        raise
    try:
        refuse_other_than_file(path, os.fstat(descriptor))
    except PlantedError:
        os.close(descriptor)
        raise
    return descriptor


def refuse_other_than_file(path: Path, status: os.stat_result) -> None:
    """Refuse what is no regular file, or may be planted.

    Raises:
        PlantedError: it is so.
    """
    if stat.S_ISLNK(status.st_mode):
        _refuse_as_link(path, status)
    if not stat.S_ISREG(status.st_mode):
        raise PlantedError(path, status, "is not a regular file", "Remove it")
    _refuse_foreign(path, status)


def _refuse_as_link(path: Path, status: os.stat_result) -> None:
    problem = f"is a link to {path.readlink()}, through which nothing is written"
    raise PlantedError(path, status, problem, "Remove the link")


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """What is at each step of a path, from the root on and through every link; up to what is not there."""
    place, left, links = Path("/"), [*(Path.cwd() / path).parts[:0:-1]], 0
    while left:
        part = left.pop()
        if part == "..":
            place = place.parent
            continue
        try:
            status = (place / part).lstat()
        except FileNotFoundError:
            return
        yield place / part, status
        if not stat.S_ISLNK(status.st_mode):
            place = place / part
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = (place / part).readlink()
        place = Path("/") if target.is_absolute() else place
        left += [one for one in target.parts[::-1] if one != "/"]


def _refuse_foreign(path: Path, status: os.stat_result) -> None:
    if status.st_uid in {0, os.geteuid()}:
        return
    folder = path.parent.stat()
    if not folder.st_mode & stat.S_IWOTH or status.st_uid == folder.st_uid:
        return
    if _is_shared_on_purpose(status, folder) or status.st_uid == _own_uid_in(path.parent):
        return
    raise PlantedError(
        path,
        status,
        "belongs to another user, in a folder where all users can write",
        "If you trust it, copy it to a name of your own (cp -r) or have its owner changed (chown -R)",
    )


def _is_shared_on_purpose(status: os.stat_result, folder: os.stat_result) -> bool:
    """Whether a group of ours can write there. In a setgid folder every name gets the folder's group."""
    return (
        not stat.S_ISLNK(status.st_mode)
        and bool(status.st_mode & stat.S_IWGRP)
        and not folder.st_mode & stat.S_ISGID
        and status.st_gid in {os.getegid(), *os.getgroups()}
    )


def _own_uid_in(folder: Path) -> int | None:
    """Whose the files are that we make there, None if we can make none.

    A file server may give root's files to 'nobody', and a mount may give all files to one user.
    """
    probe = folder / f".owner.{secrets.token_hex(8)}.tmp"
    try:
        descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError:
        return None
    try:
        return os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)


def _owner(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name}, uid {uid}"
    except KeyError:
        return f"uid {uid}"
