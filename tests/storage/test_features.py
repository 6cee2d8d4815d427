"""File systems that lack links, folder fsync or locks: all is kept, and one line says what is missing."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pylon.storage import missing_features, replace_link, write_text
from pylon.storage.features import _has_locks


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make calls fail as such a file system does."""

    def lack(*names: str, number: int = errno.EPERM) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError(number, os.strerror(number))

        fsync = os.fsync

        def refuse_folders(descriptor: int) -> None:
            if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
                refuse()
            fsync(descriptor)

        for name in names:
            target: Any = fcntl if name == "lockf" else os
            monkeypatch.setattr(target, name, refuse_folders if name == "fsync" else refuse)

    return lack


def test_common_file_system_lacks_nothing(tmp_path: Path) -> None:
    assert missing_features(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    assert _has_locks(tmp_path)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_links_become_hard_links(tmp_path: Path, lacking: Callable[..., None], number: int) -> None:
    (tmp_path / "epoch_0").mkdir()
    write_text(tmp_path / "epoch_0/checkpoint.pt", "zero")
    lacking("symlink", number=number)
    replace_link(tmp_path / "latest.pt", "epoch_0/checkpoint.pt")
    assert (tmp_path / "latest.pt").read_text() == "zero"
    assert not (tmp_path / "latest.pt").is_symlink()
    assert "symbolic links" in missing_features(tmp_path)[0]


def test_links_become_copies_without_hard_links(tmp_path: Path, lacking: Callable[..., None]) -> None:
    lacking("symlink", "link")
    for content in ("zero", "one"):
        write_text(tmp_path / "checkpoint.pt", content)
        replace_link(tmp_path / "latest.pt", "checkpoint.pt")
        assert (tmp_path / "latest.pt").read_text() == content
    assert (tmp_path / "latest.pt").stat().st_ino != (tmp_path / "checkpoint.pt").stat().st_ino


def test_full_disk_is_no_lack_of_links(tmp_path: Path, lacking: Callable[..., None]) -> None:
    lacking("symlink", number=errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        replace_link(tmp_path / "latest.pt", "checkpoint.pt")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_folder_fsync_is_left_out(tmp_path: Path, lacking: Callable[..., None], number: int) -> None:
    lacking("fsync", number=number)
    write_text(tmp_path / "a.json", "kept")
    assert (tmp_path / "a.json").read_text() == "kept"
    assert "fsync of folders" in missing_features(tmp_path)[0]


def test_folder_fsync_that_fails_is_an_error(tmp_path: Path, lacking: Callable[..., None]) -> None:
    lacking("fsync", number=errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        write_text(tmp_path / "a.json", "lost?")
