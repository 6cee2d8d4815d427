"""The hold of one process on a run directory, also if the directory is removed meanwhile."""

import errno
import fcntl
import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from pylon.storage import UNSUPPORTED, open_unlinked, refuse_planted, write_bytes

logger = logging.getLogger(__name__)


class ClaimedError(BlockingIOError):
    """Another process holds the directory."""


class Claim:
    """A directory, made if it is absent, and held for this process alone.

    The lock is a POSIX record lock: it ends with the process that took it, however that
    ends, and a forked loader worker does not inherit it.

    Args:
        root: the directory.
        header: files that are written before the training begins; they are written again into a
            directory that has to be made again.
    """

    def __init__(self, root: Path, header: Sequence[Path]) -> None:
        self._root = root
        self._lock = root / ".lock"
        self._header = header
        self._contents: dict[Path, tuple[bytes, bool]] = {}
        self._open = ExitStack()
        self._identity: tuple[int, int] | None = None
        self._volume = 0

    def take(self) -> None:
        """Make the directory and hold it.

        Raises:
            ClaimedError: another process holds it.
            PlantedError: another user may have planted it.
            OSError: it cannot be made or written.
        """
        refuse_planted(self._root)
        self._root.mkdir(parents=True, exist_ok=True)
        # Another one may have made it in this moment.
        refuse_planted(self._root)
        lock = self._opened()
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            if error.errno in UNSUPPORTED:
                # The directory's file system has no locks, which the log says.
                lock = self._opened()
            elif isinstance(error, BlockingIOError | PermissionError):
                raise ClaimedError(
                    errno.EAGAIN, "another process is running in this directory", str(self._root)
                ) from error
            else:
                raise
        # Closing any descriptor of a file opens its lock: those of removed ones stay open too.
        self._open.enter_context(lock)
        self._identity, self._volume = self._seen(), self._root.stat().st_dev

    def close(self) -> None:
        """Let go of the directory."""
        self._open.close()

    def ensure(self) -> None:
        """Make the directory again if it was removed.

        Raises:
            ClaimedError: another process has taken its place.
            OSError: it cannot be made, or its volume is not mounted any more.
        """
        if self._seen() == self._identity:
            if not self._contents:
                self._contents = {path: _content(path) for path in self._header if path.exists()}
            return
        self._refuse_another_volume()
        self.take()
        lost = {path: content for path, content in self._contents.items() if not path.exists()}
        for path, (content, private) in lost.items():
            write_bytes(path, content, private=private)
        if lost:
            logger.error(
                "%s: was removed while the run was going on, and is made again. What only the removed one "
                "held is lost: checkpoints, losses and scores of epochs before this one.",
                self._root,
            )

    def _opened(self) -> IO[str]:
        return os.fdopen(open_unlinked(self._lock, os.O_CREAT | os.O_RDWR | os.O_APPEND), "a+")

    def _seen(self) -> tuple[int, int] | None:
        try:
            status = self._lock.lstat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _refuse_another_volume(self) -> None:
        """A directory made below an empty mount point would fill the wrong disk, and vanish."""
        nearest = next(path for path in (self._root, *self._root.resolve().parents) if path.exists())
        if nearest.stat().st_dev != self._volume and not any(path.exists() for path in self._header):
            raise OSError(errno.ENODEV, "what it stood on is not mounted any more", str(self._root))


def _content(path: Path) -> tuple[bytes, bool]:
    """What a file holds, and whether it is readable for its owner alone."""
    return path.read_bytes(), not path.stat().st_mode & 0o077
