"""The files that configure ssh: whether others can write them, and whether they have changed."""

import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator
from glob import glob
from pathlib import Path

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh.expansion import own_account

# Of a file: time, size and number. Of a folder: the names in it. None: it is not there.
Stamps = dict[Path, object]

SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")

_INCLUDE = re.compile(r"^\s*include(?:\s*=\s*|\s+)(.*)$", re.IGNORECASE | re.MULTILINE)
_DEEPEST_INCLUDE = 16
_LARGEST_FILE_BYTES = 4 * 2**20
_LARGEST_FOLDER = 10_000


def stamps_of(files: Iterable[Path], folders: Iterable[Path]) -> Stamps:
    """What changes when one of `files` is written, replaced, made or removed, or a name in `folders`."""
    return {**{one: _file_stamp(one) for one in files}, **{one: _folder_stamp(one) for one in folders}}


def refuse_writable_by_others(config: Path) -> None:
    """Refuse a file, or one that it includes, in which others can write: they could have programs run as us.

    `ssh -F` has no such check, so this looks before ssh runs what a Match exec names.

    Raises:
        MonitorSettingError: it is not a file of ours, or cannot be read.
    """
    for path in dict.fromkeys((config, *_included(config, 0))):
        try:
            status = path.stat()
            with path.open("rb"):
                pass
        except FileNotFoundError as error:
            raise MonitorSettingError(f"ssh_config: {str(path)!r}, expected a file ({error}).") from error
        except OSError as error:
            raise MonitorSettingError(f"ssh_config: {str(path)!r} cannot be read ({error}).") from error
        refuse_foreign(path, status, "ssh_config")


def refuse_foreign(path: Path, status: os.stat_result, what: str) -> None:
    """Refuse a file that another user owns, or can write.

    Raises:
        MonitorSettingError: it is so.
    """
    if status.st_uid not in {0, os.getuid()} or (stat.S_ISREG(status.st_mode) and status.st_mode & 0o022):
        raise MonitorSettingError(
            f"{what}: {str(path)!r} has mode {stat.filemode(status.st_mode)} and belongs to uid"
            f" {status.st_uid}, expected a file of yours that no other user can write: it has programs"
            f" run in your name. chmod go-w {shlex.quote(str(path))}"
        )


def included_by(file: Path) -> Iterator[Path]:
    """The paths and patterns of all Include lines of a file, in any block; none if it cannot be read."""
    try:
        with file.open("rb") as opened:
            text = opened.read(_LARGEST_FILE_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return
    # As ssh does: relative ones start from ~/.ssh, except in the system's files.
    system = file.is_relative_to(SYSTEM_CONFIG.parent)
    start = SYSTEM_CONFIG.parent if system else Path(own_account().pw_dir) / ".ssh"
    for match in _INCLUDE.finditer(text):
        for word in _words(match.group(1)):
            yield start / os.path.expanduser(word)  # noqa: PTH111 - an unknown user is ssh's error


def is_pattern(path: Path) -> bool:
    """Whether a path of an Include line matches any number of files."""
    return bool(set("*?[") & set(str(path)))


def _included(file: Path, depth: int) -> Iterator[Path]:
    """The files that are there for the Include lines of `file`, and for theirs."""
    if depth >= _DEEPEST_INCLUDE:
        return
    for pattern in included_by(file):
        # Not Path.glob: a pattern may start anywhere and have several parts.
        for found in sorted(glob(str(pattern))):  # noqa: PTH207
            one = Path(found)
            if one.is_file():
                yield one
                yield from _included(one, depth + 1)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        # ssh names the line and its error itself.
        return []


def _file_stamp(path: Path) -> object:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


def _folder_stamp(path: Path) -> object:
    try:
        with os.scandir(path) as entries:
            return tuple(sorted(one.name for one, _ in zip(entries, range(_LARGEST_FOLDER), strict=False)))
    except OSError:
        return None
