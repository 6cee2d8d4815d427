"""A run on a file system without symbolic links, folder fsync and locks trains, resumes and says so once."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runners.conftest import Toy


@pytest.fixture
def poor_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    def no_locks(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    fsync = os.fsync

    def no_folders(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "symlink", refuse)
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "fsync", no_folders)
    monkeypatch.setattr(fcntl, "lockf", no_locks)


@pytest.mark.usefixtures("poor_file_system")
def test_run_trains_and_its_best_weights_are_there(make_toy: Callable[[str], Toy]) -> None:
    toy = make_toy("poor")
    toy.run("epochs=3")
    for name in ("checkpoint_latest.pt", "checkpoint_best.pt"):
        assert (toy.work_dir / name).is_file()
        assert not (toy.work_dir / name).is_symlink()
    assert (toy.work_dir / "test/test_results.json").exists()
    log = (toy.work_dir / "train.log").read_text()
    assert log.count("file system") == 1
    for part in ("its file system has no symbolic links", "fsync of folders", "file locks"):
        assert part in log
