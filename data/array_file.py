"""A file of arrays that is mapped into memory, and known to be whole before anything of it is used.

magic ── length of the head ── head (JSON: types, shapes, checksum) ── arrays, each at a multiple of 64 bytes
"""

import json
import mmap
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylon.storage import atomic_path, open_unlinked

AnyArrays = tuple[npt.NDArray[Any], ...]

_MAGIC = b"pylonarr"
_LENGTH_BYTES = 8
_ALIGNED = 64


class DamagedArraysError(Exception):
    """The file is not what `write_arrays` writes, or not all of it."""


def can_be_written(arrays: Sequence[Any]) -> bool:
    """Whether these are arrays of plain numbers, and none is empty."""
    return all(
        isinstance(array, np.ndarray) and array.dtype.kind in "biufc" and array.size for array in arrays
    )


def size_in_file(arrays: AnyArrays) -> int:
    """Bytes of a file of these arrays, or somewhat more."""
    return sum(array.nbytes + 2 * _ALIGNED for array in arrays) + 1024


def write_arrays(path: Path, arrays: AnyArrays) -> None:
    """Write arrays to a file that is there as a whole or not at all.

    Raises:
        OSError: the disk refuses.
    """
    content = [np.asarray(array, order="C") for array in arrays]
    checksum = 0
    for array in content:
        checksum = zlib.crc32(_bytes(array), checksum)
    described = [(array.dtype.str, array.shape) for array in content]
    head = json.dumps({"arrays": described, "crc32": checksum}).encode()
    with atomic_path(path, private=True) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC + len(head).to_bytes(_LENGTH_BYTES, "little") + head)
        for array in content:
            file.write(bytes(-file.tell() % _ALIGNED))
            file.write(_bytes(array))


def read_arrays(path: Path, *, check: bool) -> AnyArrays:
    """The arrays of a file, read-only and mapped: what is not looked at is not read.

    Args:
        path: of the file.
        check: compare its checksum too, for which all of it is read.

    Raises:
        DamagedArraysError: the file is not whole.
        OSError: it cannot be read, or another user may have put it there.
    """
    descriptor = open_unlinked(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        if size < len(_MAGIC) + _LENGTH_BYTES:
            raise DamagedArraysError(f"{path}: has {size} bytes")
        memory = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
    finally:
        os.close(descriptor)
    try:
        head, place = _head(memory)
        arrays = _mapped(memory, head["arrays"], place)
        whole = not check or _checksum(arrays) == head["crc32"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedArraysError(f"{path}: {error}") from error
    if not whole:
        raise DamagedArraysError(f"{path}: its checksum is another one")
    return arrays


def _head(memory: mmap.mmap) -> tuple[dict[str, Any], int]:
    """What the file says of its arrays, and where they begin."""
    begin = len(_MAGIC) + _LENGTH_BYTES
    if memory[: len(_MAGIC)] != _MAGIC:
        raise ValueError("is another kind of file")
    end = begin + int.from_bytes(memory[len(_MAGIC) : begin], "little")
    return json.loads(memory[begin:end]), end


def _mapped(memory: mmap.mmap, described: list[Any], place: int) -> AnyArrays:
    arrays = []
    for name, shape in described:
        place += -place % _ALIGNED
        dtype = np.dtype(name)
        count = int(np.prod(shape, dtype=np.int64))
        # Raises ValueError beyond the end of the file.
        arrays.append(np.frombuffer(memory, dtype, count, place).reshape(shape))
        place += count * dtype.itemsize
    return tuple(arrays)


def _checksum(arrays: AnyArrays) -> int:
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(_bytes(array), checksum)
    return checksum


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
