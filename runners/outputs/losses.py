"""The losses of the running epoch's steps: in memory as numbers, in a file as raw float64."""

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from pylon.storage import open_unlinked

_BYTES = 8


class EpochLosses:
    """Losses that only grow, so that a save writes those since the last one, and a digest of all.

    One thread extends; another may store meanwhile.

    Args:
        values: of the steps that the epoch has done before, if a run resumes in its middle.
    """

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._values = array("d")
        self._digest = hashlib.sha256()
        self._digested = 0
        self._stored = 0
        self.extend(values)

    def __len__(self) -> int:
        return len(self._values)

    def extend(self, values: Iterable[float]) -> None:
        """Add the losses of further steps."""
        self._values.extend(values)

    @property
    def last(self) -> float | None:
        """The newest loss, None before the first."""
        return self._values[-1] if self._values else None

    @property
    def sha256(self) -> str:
        """Of all losses so far, as the file holds them; on the thread that extends."""
        self._digest.update(_as_bytes(self._values[self._digested :]))
        self._digested = len(self._values)
        return self._digest.hexdigest()

    def values(self) -> Iterator[float]:
        """All losses in step order."""
        return iter(self._values)

    def tensor(self) -> torch.Tensor:
        """All losses, float64 (steps,)."""
        return torch.from_numpy(np.array(self._values, dtype=np.float64))

    def store(self, path: Path, count: int) -> None:
        """Bring the first `count` losses to the disk: what the file lacks is added to it.

        Raises:
            OSError: the disk refuses; the next call adds the same again.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_unlinked(path, os.O_WRONLY | os.O_CREAT)
        try:
            # Fewer than were stored: the file was removed meanwhile.
            begin = min(self._stored, os.fstat(descriptor).st_size // _BYTES, count)
            content, place = _as_bytes(self._values[begin:count]), begin * _BYTES
            while content:
                # A full disk can take a part.
                taken = os.pwrite(descriptor, content, place)
                content, place = content[taken:], place + taken
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._stored = count


def read_losses(path: Path, count: int) -> "array[float]":
    """The first `count` losses that `store` has brought to a file, fewer if it holds fewer.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(count * _BYTES)
    return array("d", np.frombuffer(content[: len(content) // _BYTES * _BYTES], dtype="<f8").tolist())


def _as_bytes(values: "array[float]") -> bytes:
    return np.array(values, dtype="<f8").tobytes()
