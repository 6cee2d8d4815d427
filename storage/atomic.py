"""Atomic files: write next to the target, flush, fsync, rename, fsync the folder.

    caller ── writes ──> .NAME.XXXX.tmp (same folder) ── fsync ──> os.replace ──> NAME

A reader sees the old file or the new one, never a part of one, whatever kills the writer.
The temporary file is in the target's own folder because a rename is atomic only within
one file system.
"""

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp(\..+)?")


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes `target` when the block ends without an exception.

    Args:
        target: the file to replace or create. Its folder is made when absent.

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
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        _fsync(temporary, os.O_RDONLY)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    _fsync(target.parent, os.O_RDONLY | os.O_DIRECTORY)


def write_bytes(target: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `target` atomically. Raises OSError as `atomic_path` does."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: str | os.PathLike[str], content: str) -> None:
    """Write `content` as UTF-8 to `target` atomically. Raises OSError as `atomic_path` does."""
    write_bytes(target, content.encode("utf-8"))


def write_json(target: str | os.PathLike[str], content: object) -> None:
    """Write `content` as indented JSON to `target` atomically.

    Raises:
        ValueError: `content` holds NaN or infinity, which are no JSON.
        TypeError: `content` holds something that JSON cannot express.
        OSError: as `atomic_path`.
    """
    write_text(target, json.dumps(content, indent=2, allow_nan=False) + "\n")


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_link(link: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Make `link` a symbolic link to `target`, with no moment at which it is absent.

    Args:
        link: the link to make or replace. A file of that name is replaced too.
        target: what it points to, as written: relative targets are relative to the link's folder.

    Raises:
        OSError: the folder cannot be written, or the file system knows no symbolic links.
    """
    link = Path(link)
    temporary = link.with_name(f".{link.name}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.symlink_to(target)
        temporary.replace(link)
    finally:
        temporary.unlink(missing_ok=True)
    _fsync(link.parent, os.O_RDONLY | os.O_DIRECTORY)


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Delete the temporary files that killed writers left in `folder` and below.

    Call it only if no writer is active there: a living writer would lose its file.
    """
    for path in Path(folder).rglob(".*.tmp*"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)
