"""Atomic files: write next to the target, flush, fsync, rename, fsync the folder.

    caller ── writes ──> .NAME.XXXX.tmp (same folder) ── fsync ──> os.replace ──> NAME

A reader sees the old file or the new one, never a part of one, whatever kills the writer.
The temporary file is in the target's own folder because a rename is atomic only within
one file system.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# How file systems say that they have no such thing.
UNSUPPORTED = frozenset(
    {errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.ENOTTY}
)
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp(\..+)?")


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike[str], *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path that becomes `target` when the block ends without an exception.

    Args:
        target: the file to replace or create. Its folder is made when absent.
        private: let no other user read it.

    Yields:
        A path in the same folder, with the target's suffix (writers that choose a format by
        suffix keep working), for the caller to write and close.

    Raises:
        OSError: the folder, the temporary file or the rename failed (disk full, read-only, ...).
            The former content of `target` is then untouched and the temporary file removed.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(8)}.tmp{target.suffix}")
    # 0o666 less the umask: a run's files stay readable for the colleagues who share the server.
    mode = 0o600 if private else 0o666
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    try:
        yield temporary
        _fsync(temporary, os.O_RDONLY)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(target.parent)


def write_bytes(target: str | os.PathLike[str], content: bytes, *, private: bool = False) -> None:
    """Write `content` to `target` atomically. Arguments and errors are those of `atomic_path`."""
    with atomic_path(target, private=private) as temporary:
        temporary.write_bytes(content)


def write_text(target: str | os.PathLike[str], content: str, *, private: bool = False) -> None:
    """Write `content` as UTF-8 to `target` atomically. Arguments and errors are those of `atomic_path`."""
    write_bytes(target, content.encode("utf-8"), private=private)


def write_json(target: str | os.PathLike[str], content: object, *, private: bool = False) -> None:
    """Write `content` as indented JSON to `target` atomically; a list of plain values is one line.

    Args:
        target, private: as of `atomic_path`.
        content: what JSON can express.

    Raises:
        ValueError: `content` holds NaN or infinity, which are no JSON.
        TypeError: `content` holds something that JSON cannot express.
        OSError: as `atomic_path`.
    """
    write_text(target, _indented(content, "\n") + "\n", private=private)


def _indented(value: Any, line: str) -> str:  # noqa: ANN401 - whatever JSON can express
    """JSON text.

    Args:
        value: to express.
        line: the line end and the indentation of the line that it begins on.
    """
    inner = f"{line}  "
    between = f",{inner}"
    if isinstance(value, dict) and value:
        rows = [f"{_key(key)}: {_indented(element, inner)}" for key, element in value.items()]
        return f"{{{inner}{between.join(rows)}{line}}}"
    if isinstance(value, list | tuple) and any(
        issubclass(kind, dict | list | tuple) for kind in set(map(type, value))
    ):
        rows = [_indented(element, inner) for element in value]
        return f"[{inner}{between.join(rows)}{line}]"
    # A million scores on a million lines would take several times as long, and half as much room again.
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(value, allow_nan=False, indent=0)  # whose error names the number


def _key(key: object) -> str:
    """A key as JSON text, whatever type json.dumps takes for one."""
    return json.dumps(key if isinstance(key, str) else next(iter(json.loads(json.dumps({key: None})))))


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: str | os.PathLike[str]) -> bool:
    """Have the disk keep the names in `folder`; whether the file system can be asked for that.

    Older CIFS, vboxsf and others cannot; a name may then be lost by a power cut, and nothing else changes.

    Raises:
        OSError: the disk refuses.
    """
    try:
        _fsync(Path(folder), os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    return True


def replace_link(link: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Make `link` a symbolic link to `target`, with no moment at which it is absent.

    On a file system without symbolic links (exFAT, many CIFS and cloud mounts) it becomes a hard link to the
    file or, without these too, a copy of it.

    Args:
        link: the link to make or replace. A file of that name is replaced too.
        target: what it points to, as written: relative targets are relative to the link's folder.

    Raises:
        OSError: the folder cannot be written, or `target` cannot be copied.
    """
    link = Path(link)
    temporary = link.with_name(f".{link.name}.{secrets.token_hex(8)}.tmp")
    try:
        _link_or_copy(temporary, Path(target))
        temporary.replace(link)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(link.parent)


def _link_or_copy(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target)
        return
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    file = link.parent / target
    try:
        link.hardlink_to(file)
    except OSError as error:
        if error.errno not in UNSUPPORTED | {errno.EXDEV, errno.EMLINK}:
            raise
        shutil.copyfile(file, link)
        _fsync(link, os.O_RDONLY)


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Delete the temporary files that killed writers left in `folder` and below.

    Call it only if no writer is active there: a living writer would lose its file.
    """
    for path in Path(folder).rglob(".*.tmp*"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)
