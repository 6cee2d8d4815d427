"""A disk that refuses, by replacing the few calls through which everything is written."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class RefusingDisk:
    """Below `root`, calls fail while `broken` holds an error number.

    `after` lets so many calls through first, so that each place of a sequence of writes can be met.
    `on_fsync` is called in each fsync, and takes as long as it likes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.broken: int | None = None
        self.after = 0
        self.calls = 0
        self.refused = 0
        self.on_fsync: Callable[[], None] = lambda: None

    def look(self, path: Any) -> None:
        if not str(path).startswith(str(self.root)):
            return
        self.calls += 1
        if self.broken is None:
            return
        if self.after > 0:
            self.after -= 1
            return
        self.refused += 1
        raise OSError(self.broken, os.strerror(self.broken), str(path))


@contextmanager
def refusing(root: Path) -> Iterator[RefusingDisk]:
    """Put the shim between the program and the disk inside the block."""
    disk = RefusingDisk(root)
    with pytest.MonkeyPatch.context() as patch:
        os_write, os_fsync, os_open, replace, path_open = os.write, os.fsync, os.open, Path.replace, Path.open

        def place(descriptor: int) -> str:
            return str(Path(f"/proc/self/fd/{descriptor}").readlink())

        def write(descriptor: int, content: Any) -> int:
            disk.look(place(descriptor))
            return os_write(descriptor, content)

        def fsync(descriptor: int) -> None:
            disk.look(place(descriptor))
            if place(descriptor).startswith(str(root)):
                disk.on_fsync()
            os_fsync(descriptor)

        def opened(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if flags & os.O_CREAT:
                disk.look(path)
            return os_open(path, flags, *arguments, **options)

        def renamed(self: Path, target: Any) -> Path:
            disk.look(target)
            return replace(self, target)

        def path_opened(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            file = path_open(self, mode, *arguments, **options)
            if "b" in mode and "w" in mode and str(self).startswith(str(root)):
                return _Written(file, self, disk)
            return file

        patch.setattr(os, "write", write)
        patch.setattr(os, "fsync", fsync)
        patch.setattr(os, "open", opened)
        patch.setattr(Path, "replace", renamed)
        patch.setattr(Path, "open", path_opened)
        yield disk


class _Written:
    """A file that asks the disk at each write; a refused write leaves half of its bytes there."""

    def __init__(self, file: Any, path: Path, disk: RefusingDisk) -> None:
        self._file, self._path, self._disk = file, path, disk

    def write(self, content: Any) -> int:
        try:
            self._disk.look(self._path)
        except OSError:
            self._file.write(memoryview(content)[: len(memoryview(content)) // 2])
            raise
        return self._file.write(content)

    def __enter__(self) -> "_Written":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
