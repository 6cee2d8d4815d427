"""A file that grows line by line, on a disk that may refuse, and in a folder that may be removed."""

import logging
import os
import threading
from pathlib import Path

from pylon.storage import atomic_path, open_unlinked

_PIECE_BYTES = 1 << 20

logger = logging.getLogger(__name__)


class LineFile:
    """Appends lines to a file; what the disk refuses waits in memory and is tried again with the next.

    One thread appends; another may sync meanwhile.

    Args:
        path: the file; made if it is absent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = self._opened()
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._refused = False

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def append(self, lines: str) -> None:
        """Write `lines`, or keep them if the disk refuses."""
        with self._lock:
            self._waiting += lines.encode()
            try:
                self._write()
            except OSError as error:
                if not self._refused:
                    logger.warning("%s: lines wait in memory: %s", self._path, error)
                self._refused = True
            else:
                self._refused = False

    def sync(self) -> None:
        """Bring every line to the disk, into a new file if the previous one was removed.

        Raises:
            OSError: the disk refuses.
        """
        # Outside the lock: both may take seconds, and the training continues to append.
        removed = self._is_removed()
        with self._lock:
            if removed:
                self._open_again()
            self._write()
            descriptor = self._descriptor
        os.fsync(descriptor)

    def _write(self) -> None:
        while self._waiting:
            # A full disk can take a part: what it took must not be written twice.
            del self._waiting[: os.write(self._descriptor, self._waiting)]

    def _is_removed(self) -> bool:
        """Whether what is written cannot be found under the file's name."""
        try:
            return not os.path.samestat(self._path.lstat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True

    def _open_again(self) -> None:
        if not self._path.exists():
            # As long as it is open, a removed file can still be read.
            with atomic_path(self._path) as temporary:
                self._copy_to(temporary)
        former, self._descriptor = self._descriptor, self._opened()
        os.close(former)

    def _copy_to(self, path: Path) -> None:
        start = 0
        with path.open("wb") as target:
            while piece := self._piece(start):
                target.write(piece)
                start += len(piece)

    def _piece(self, start: int) -> bytes:
        try:
            return os.pread(self._descriptor, _PIECE_BYTES, start)
        except OSError as error:
            logger.warning("%s: was removed, and from byte %d on lost: %s", self._path, start, error)
            return b""

    def _opened(self) -> int:
        return open_unlinked(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT)


class NoFile:
    """Takes lines and forgets them: for the ranks that write nothing."""

    def close(self) -> None:
        """See LineFile."""

    def append(self, lines: str) -> None:
        """See LineFile."""

    def sync(self) -> None:
        """See LineFile."""
