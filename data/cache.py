"""Decoded images in memory that all loader workers share, up to a fixed number of bytes.

    put ── lock: take bytes and a row ── copy the pixels ── lock: mark the row ready
    get ── lock: look up the row ── a view of the pixels, without a copy

The memory is a file without a name, which ends with its last process. Workers inherit it by fork,
or receive its descriptor under 'forkserver' and 'spawn'.
"""

import hashlib
import json
import logging
import math
import mmap
import os
import tempfile
import weakref
from multiprocessing import reduction
from typing import Any

import numpy as np
import numpy.typing as npt

from pylon.data.process_lock import ProcessLock

Arrays = tuple[npt.NDArray[np.uint8], ...]

_LOCK_TIMEOUT_S = 0.2
_ABSENT, _WRITING, _READY = 0, 1, 2
_DIGEST, _STATE, _OFFSET, _LENGTH = range(4)
_USED_BYTES, _USED_ROWS, _TOLD_FULL, _HEAD_FIELDS = range(4)
_INT64_BYTES = 8

logger = logging.getLogger(__name__)


class SharedImageCache:
    """Arrays by a text key, written once and read by every process that got this object.

    The memory is filled from front to back and taken as it is filled; when it is full, further
    images are decoded at every access. A worker killed while it writes costs that one entry, one
    killed inside the lock costs nothing. If the lock is not free in time, or memory is short,
    the cache answers as if it were empty or full.

    Args:
        capacity_bytes: of all entries together, at least 1.
        max_entries: at least 1.

    Raises:
        ValueError: a size below 1, or more than the system gives.
    """

    def __init__(self, capacity_bytes: int, max_entries: int = 65536) -> None:
        if capacity_bytes < 1 or max_entries < 1:
            raise ValueError(
                f"capacity_bytes={capacity_bytes}, max_entries={max_entries}: expected both to be at least 1."
            )
        self.capacity_bytes = capacity_bytes
        # A quarter of the rows stays empty, which keeps the search for a key short.
        self._rows_in_table = max_entries + max_entries // 3 + 1
        self._max_entries = max_entries
        try:
            self._open(_anonymous_file())
        except OSError as error:
            raise ValueError(
                f"capacity_bytes: {capacity_bytes}, but the system gives no shared memory of that size: "
                f"{error}. Lower it, or set cache=None."
            ) from error

    def get(self, key: str) -> Arrays | None:
        """The arrays under `key`, read-only views of the shared memory; None if there are none."""
        with self._lock.held() as locked:
            row = self._find(_digest(key)) if locked else None
            if row is None or row[_STATE] != _READY:
                return None
            offset, length = int(row[_OFFSET]), int(row[_LENGTH])
        return _unpacked(self._block[offset : offset + length], key)

    def put(self, key: str, arrays: Arrays) -> bool:
        """Keep a copy of `arrays` under `key`; False if there is no room, or the key has been taken."""
        header = json.dumps({"key": key, "shapes": [array.shape for array in arrays]}).encode()
        length = _INT64_BYTES + len(header) + sum(array.nbytes for array in arrays)
        with self._lock.held() as locked:
            row = self._take(_digest(key), length) if locked else None
        if row is None:
            return False
        _pack(self._block[int(row[_OFFSET]) : int(row[_OFFSET]) + length], header, arrays)
        with self._lock.held() as locked:
            if locked:
                row[_STATE] = _READY
        return locked

    def __len__(self) -> int:
        """Number of keys with arrays."""
        return int((self._table[:, _STATE] == _READY).sum())

    @property
    def used_bytes(self) -> int:
        """What the entries take, those of killed writers included."""
        return int(self._head[_USED_BYTES])

    def __getstate__(self) -> dict[str, Any]:
        """For a worker that is spawned: the sizes, and the file's descriptor."""
        sizes = {name: getattr(self, name) for name in ("capacity_bytes", "_max_entries", "_rows_in_table")}
        return {**sizes, "file": reduction.DupFd(self._descriptor)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In the spawned worker."""
        descriptor = state.pop("file").detach()
        self.__dict__.update(state)
        self._open(descriptor)

    def _open(self, descriptor: int) -> None:
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        fields = _HEAD_FIELDS + 4 * self._rows_in_table
        self._block_start = -(-fields * _INT64_BYTES // mmap.PAGESIZE) * mmap.PAGESIZE
        os.ftruncate(descriptor, self._block_start + self.capacity_bytes)
        memory = mmap.mmap(descriptor, self._block_start + self.capacity_bytes)
        numbers = np.frombuffer(memory, np.int64, count=fields)
        self._head, self._table = numbers[:_HEAD_FIELDS], numbers[_HEAD_FIELDS:].reshape(-1, 4)
        self._block = np.frombuffer(memory, np.uint8, offset=self._block_start)
        self._lock = ProcessLock(descriptor, _LOCK_TIMEOUT_S)

    def _find(self, digest: int) -> npt.NDArray[np.int64]:
        """The row of `digest`, or the empty one in its place (open addressing, linear probing)."""
        number = digest % self._rows_in_table
        while self._table[number, _STATE] != _ABSENT and self._table[number, _DIGEST] != digest:
            number = (number + 1) % self._rows_in_table
        row: npt.NDArray[np.int64] = self._table[number]
        return row

    def _take(self, digest: int, length: int) -> npt.NDArray[np.int64] | None:
        """A row and `length` bytes for `digest`, under the lock; None: it is known, or there is no room."""
        row = self._find(digest)
        if row[_STATE] != _ABSENT:
            return None
        offset = int(self._head[_USED_BYTES])
        if not self._has_room(offset, length):
            self._tell_full()
            return None
        # In this order, a death in between loses bytes, but never gives them to two entries.
        self._head[_USED_BYTES] = offset + length
        self._head[_USED_ROWS] += 1
        row[_DIGEST], row[_OFFSET], row[_LENGTH] = digest, offset, length
        row[_STATE] = _WRITING
        return row

    def _has_room(self, offset: int, length: int) -> bool:
        if offset + length > self.capacity_bytes or self._head[_USED_ROWS] >= self._max_entries:
            return False
        try:
            # Writing to a page that the system cannot give ends the process with SIGBUS: ask before.
            os.posix_fallocate(self._descriptor, self._block_start + offset, length)
        except OSError as error:
            logger.warning("image cache: the system gives no more memory: %s", error)
            return False
        return True

    def _tell_full(self) -> None:
        if self._head[_TOLD_FULL]:
            return
        self._head[_TOLD_FULL] = 1
        logger.warning(
            "image cache: full with %d entries in %d of %d bytes; further images are decoded at every access "
            "(capacity_bytes and max_entries raise the limits)",
            len(self),
            self.used_bytes,
            self.capacity_bytes,
            extra={
                "entries": len(self),
                "used_bytes": self.used_bytes,
                "capacity_bytes": self.capacity_bytes,
            },
        )


def _anonymous_file() -> int:
    """The descriptor of a file in memory without a name."""
    if hasattr(os, "memfd_create"):
        # Bounded by memory alone: in a container /dev/shm is often 64 MB, and the batches need those.
        return os.memfd_create("pylon-image-cache")
    # Python built against a C library from before 2018, as some distributions' are.
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        return os.dup(file.fileno())


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little", signed=True)


def _pack(target: npt.NDArray[np.uint8], header: bytes, arrays: Arrays) -> None:
    target[:_INT64_BYTES] = np.frombuffer(len(header).to_bytes(_INT64_BYTES, "little"), np.uint8)
    start = _INT64_BYTES + len(header)
    target[_INT64_BYTES:start] = np.frombuffer(header, np.uint8)
    for array in arrays:
        target[start : start + array.nbytes] = array.reshape(-1)
        start += array.nbytes


def _unpacked(source: npt.NDArray[np.uint8], key: str) -> Arrays | None:
    """The arrays of an entry; None if it is another key's with the same digest."""
    start = _INT64_BYTES + int.from_bytes(source[:_INT64_BYTES].tobytes(), "little")
    header = json.loads(source[_INT64_BYTES:start].tobytes())
    if header["key"] != key:
        return None
    arrays = []
    for shape in header["shapes"]:
        size = math.prod(shape)
        view = source[start : start + size].reshape(shape)
        view.flags.writeable = False
        arrays.append(view)
        start += size
    return tuple(arrays)
