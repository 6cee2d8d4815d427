"""`make run` on a machine that lacks something reports in one line what, and how to fix it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/environment.sh", "pyproject.toml", "constraints.txt", "README.md"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def command(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def set_up(clone: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    fakes = clone / "fakes"
    fakes.mkdir(exist_ok=True)
    return subprocess.run(
        ["bash", "scripts/environment.sh"],
        cwd=clone,
        env={
            "PATH": f"{fakes}:{os.environ['PATH']}",
            "HOME": str(clone),
            "PYTHON": sys.executable,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_no_suitable_python(clone: Path) -> None:
    for name in ("python3", "python", "python3.11", "python3.12", "python3.13"):
        command(clone / "fakes", name, 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac')
    done = set_up(clone, PYTHON="")
    assert done.returncode == 1
    assert "no Python 3.11, 3.12 or 3.13 found" in done.stderr
    assert "Python 3.9.2" in done.stderr


@pytest.mark.parametrize(
    ("name", "script", "shown"),
    [
        ("python3.13", 'echo "pyenv: python3.13: command not found" >&2; exit 127', "command not found"),
        ("old-python", 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac', "Python 3.9.2"),
    ],
)
def test_chosen_python_that_does_not_work_is_an_error(
    clone: Path, name: str, script: str, shown: str
) -> None:
    command(clone / "fakes", name, script)
    done = set_up(clone, PYTHON=name)
    assert done.returncode == 1
    assert f"PYTHON is '{name}'" in done.stderr
    assert shown in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (clone / ".venv").exists(), "no other interpreter was taken"


def test_chosen_python_that_is_absent_is_an_error(clone: Path) -> None:
    done = set_up(clone, PYTHON="/nowhere/python3.13")
    assert done.returncode == 1
    assert "PYTHON is '/nowhere/python3.13'" in done.stderr
    assert not (clone / ".venv").exists()


def test_chosen_python_that_the_environment_does_not_have_is_an_error(clone: Path) -> None:
    release = "3.12" if sys.version_info[:2] != (3, 12) else "3.13"
    script = f'case "$2" in *print*) echo {release};; esac'
    command(clone / ".venv" / "bin", "python", script)
    done = set_up(clone)
    assert done.returncode == 1
    assert f"but .venv holds Python {release}" in done.stderr


def test_no_venv_module(clone: Path) -> None:
    script = f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'
    command(clone / "fakes", "bare-python", script)
    done = set_up(clone, PYTHON=str(clone / "fakes" / "bare-python"))
    assert done.returncode == 1
    assert "has no venv module" in done.stderr
    assert "python3-venv" in done.stderr


def test_too_little_room_is_reported_before_anything_is_made(clone: Path) -> None:
    command(clone / "fakes", "df", "echo header; echo /dev/sda 100 90 10 90% /")
    done = set_up(clone)
    assert done.returncode == 1
    assert "10 MiB free on this disk" in done.stderr
    assert not (clone / ".venv").exists()


def test_disk_that_fills_up_while_installing(clone: Path) -> None:
    command(clone / "fakes", "full-python", f'''
        case "$*" in *"pip install"*) echo "ERROR: [Errno 28] No space left on device"; exit 1;; esac
        [ "$2" = venv ] && {{ mkdir -p .venv/bin; cp "$0" .venv/bin/python; exit; }}
        exec {sys.executable} "$@"''')  # fmt: skip
    done = set_up(clone, PYTHON=str(clone / "fakes" / "full-python"))
    assert done.returncode == 1
    assert "the disk is full" in done.stderr


@pytest.mark.slow
def test_no_network(clone: Path) -> None:
    # A port that nothing listens on answers as an unplugged network does: at once, with a refusal.
    done = set_up(
        clone,
        PIP_CONFIG_FILE="/dev/null",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_RETRIES="1",
        PIP_NO_CACHE_DIR="1",
    )
    assert done.returncode == 1, done.stdout
    assert "the package index cannot be reached" in done.stderr
