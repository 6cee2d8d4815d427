import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pylon.storage import PlantedError, open_unlinked, refuse_planted
from tests.other_users import NOBODY, needs_root

ANOTHER = 65533


def folder(path: Path) -> None:
    path.mkdir()


def file(path: Path) -> None:
    path.write_text("planted")


def link(path: Path) -> None:
    path.symlink_to(path.parent)


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "absent")


@needs_root
@pytest.mark.parametrize("make", [folder, file, link, link_to_nothing])
def test_what_another_user_has_put_there_is_refused_with_its_owner_and_a_fix(
    shared: Path, make: Callable[[Path], None]
) -> None:
    path = shared / "run"
    make(path)
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(PlantedError, match=rf"^{path}: .*uid {NOBODY}\).*cp -r") as refused:
        refuse_planted(path)
    assert refused.value.owner_uid == NOBODY
    assert [one.name for one in shared.iterdir()] == ["run"], (
        "nothing is left of trying whose files are whose"
    )


@needs_root
def test_link_of_another_user_on_the_way_is_refused(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (shared / "results").symlink_to(tmp_path / "place")
    os.chown(shared / "results", NOBODY, NOBODY, follow_symlinks=False)
    (tmp_path / "mine").symlink_to(shared / "results")
    for way in (shared / "results" / "run", tmp_path / "mine" / ".." / "place" / "run"):
        with pytest.raises(PlantedError, match=rf"^{shared}/results: "):
            refuse_planted(way)


def test_own_links_are_followed_and_what_is_absent_is_not_judged(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "place").mkdir()
    (shared / "results").symlink_to("../place")
    (tmp_path / "link").symlink_to(shared / "results")
    monkeypatch.chdir(tmp_path)
    for way in (Path("link/run"), shared / "results", shared / "absent" / "run", Path()):
        refuse_planted(way)


def test_links_without_an_end_are_an_error_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="symbolic links"):
        refuse_planted(tmp_path / "round" / "run")


@needs_root
@pytest.mark.parametrize("make", [folder, file, link])
def test_in_a_folder_that_not_all_can_write_a_mounted_folder_of_any_user_is_used(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "run")
    os.chown(tmp_path / "run", NOBODY, NOBODY, follow_symlinks=False)
    refuse_planted(tmp_path / "run")


@needs_root
def test_in_a_users_own_open_folder_root_may_use_what_is_that_users(shared: Path) -> None:
    (shared / "run").mkdir()
    for path in (shared, shared / "run"):
        os.chown(path, NOBODY, NOBODY)
    refuse_planted(shared / "run")
    os.chown(shared / "run", ANOTHER, NOBODY)
    with pytest.raises(PlantedError):
        refuse_planted(shared / "run")


@needs_root
@pytest.mark.parametrize(
    ("group", "mode", "parents", "is_used"),
    [
        (0, 0o2775, 0o1777, True),
        (0, 0o755, 0o1777, False),
        (NOBODY, 0o775, 0o1777, False),
        (0, 0o2775, 0o3777, False),  # every user's folders get the group there
    ],
)
def test_folder_that_a_group_of_ours_shares_on_purpose_is_used(
    shared: Path, group: int, mode: int, parents: int, is_used: bool
) -> None:
    run = shared / "run"
    run.mkdir()
    os.chown(run, NOBODY, group)
    run.chmod(mode)
    shared.chmod(parents)
    if is_used:
        refuse_planted(run)
    else:
        with pytest.raises(PlantedError):
            refuse_planted(run)


@needs_root
def test_file_server_that_gives_roots_files_to_nobody_leaves_them_usable(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS with root_squash."""
    os_open = os.open

    def squashed(path: Any, flags: int, *more: Any, **options: Any) -> int:
        descriptor = os_open(path, flags, *more, **options)
        if flags & os.O_CREAT:
            os.fchown(descriptor, NOBODY, NOBODY)
        return descriptor

    for name, owner in (("run", NOBODY), ("foreign", ANOTHER)):
        (shared / name).mkdir()
        os.chown(shared / name, owner, owner)
    with pytest.raises(PlantedError):
        refuse_planted(shared / "run")
    monkeypatch.setattr(os, "open", squashed)
    refuse_planted(shared / "run")
    with pytest.raises(PlantedError):
        refuse_planted(shared / "foreign")


def test_open_follows_no_link_and_waits_for_no_pipe(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "made")
    os.mkfifo(tmp_path / "pipe")
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
    for name, problem in (("link", f"is a link to {target}"), ("dangling", "is a link"), ("pipe", "regular")):
        with pytest.raises(PlantedError, match=problem):
            open_unlinked(tmp_path / name, flags)
    assert not (tmp_path / "made").exists()
    descriptor = open_unlinked(target, flags)
    os.close(descriptor)
    assert stat.S_ISREG(target.stat().st_mode)


@needs_root
def test_open_refuses_a_file_of_another_user(shared: Path) -> None:
    (shared / "train.log").touch()
    os.chown(shared / "train.log", NOBODY, NOBODY)
    with pytest.raises(PlantedError, match=f"uid {NOBODY}"):
        open_unlinked(shared / "train.log", os.O_WRONLY)
