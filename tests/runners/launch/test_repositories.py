"""The commits that a launch records."""

import json
import subprocess
from pathlib import Path

import pytest

from pylon.runners.launch.repositories import commit_of_pylon, commits_of
from tests.runners.conftest import REPOSITORY, Toy

MEMBER = "runners/launch/repositories.py"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=me", "-c", "user.email=me@here", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def committed(folder: Path, *names: str) -> str:
    """Make a repository of these files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("one\n")
    git(folder, "init", "-q")
    git(folder, "add", *names)
    git(folder, "commit", "-q", "-m", "one")
    return git(folder, "rev-parse", "HEAD")


def test_repository_of_the_configuration_is_dirty_by_what_it_holds_alone(tmp_path: Path) -> None:
    commit = committed(tmp_path, "run.py", "models.py")
    files = [tmp_path / "run.py", tmp_path / "models.py"]
    clean = [{"root": str(tmp_path), "commit": commit, "dirty": False}]
    assert commits_of(files) == clean
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/train.log").touch()
    assert commits_of(files) == clean, "outputs of runs do not count"
    (tmp_path / "models.py").write_text("two\n")
    assert commits_of(files) == [{**clean[0], "dirty": True}]


def test_configuration_that_is_not_in_its_repository_makes_it_dirty(tmp_path: Path) -> None:
    committed(tmp_path, "models.py")
    (tmp_path / "run.py").touch()
    assert commits_of([tmp_path / "run.py"])[0]["dirty"] is True


def test_repository_without_a_commit_and_a_folder_without_a_repository(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "new").mkdir()
    git(tmp_path / "new", "init", "-q")
    for name in ("none", "new"):
        (tmp_path / name / "run.py").touch()
    found = commits_of([tmp_path / "none/run.py", tmp_path / "new/run.py"])
    assert [(Path(one["root"]).name, one["commit"]) for one in found] == [("new", None)]


def test_installed_pylon_does_not_take_the_users_commit_for_its_own(tmp_path: Path) -> None:
    committed(tmp_path, f"venv/pylon/{MEMBER}", "run.py")
    assert commit_of_pylon(tmp_path / "venv/pylon") is None
    assert len(commits_of([tmp_path / "run.py"])[0]["commit"]) == 40


def test_repository_around_a_copy_that_it_does_not_hold_is_not_pylons(tmp_path: Path) -> None:
    committed(tmp_path, "run.py")
    (tmp_path / MEMBER).parent.mkdir(parents=True)
    (tmp_path / MEMBER).touch()
    assert commit_of_pylon(tmp_path) is None


def test_pylons_own_repository_is_found(tmp_path: Path) -> None:
    commit = committed(tmp_path, MEMBER)
    assert commit_of_pylon(tmp_path) == {"commit": commit, "dirty": False}


def test_launch_from_a_hook_of_git_records_the_right_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hook", "mine"):
        (tmp_path / name).mkdir()
    committed(tmp_path / "hook", "other.py")
    commit = committed(tmp_path / "mine", "run.py")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "hook/.git"))
    assert [one["commit"] for one in commits_of([tmp_path / "mine/run.py"])] == [commit]


def test_launch_records_both_commits_and_no_address_of_a_remote(toy: Toy) -> None:
    commit = committed(toy.folder, "notes.txt")
    git(toy.folder, "remote", "add", "origin", "https://me:SECRET@example.org/x.git")
    toy.run("epochs=1")
    text = (toy.work_dir / "environment.json").read_text()
    (launch,) = json.loads(text)["launches"]
    # Configurations that other tests have loaded in this process are listed too.
    assert {"root": str(toy.folder), "commit": commit, "dirty": True} in launch["configuration_git"]
    assert launch["git"] == commit_of_pylon(REPOSITORY)
    assert "SECRET" not in text
