"""`pylon new`: a file that trains at once, and nothing of the user's lost."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pylon.runners.launch.new import KINDS, content_of
from tests.runners.conftest import ENVIRONMENT, REPOSITORY, started


def new(folder: Path, *arguments: str, limit: str = "") -> subprocess.CompletedProcess[str]:
    """The command, on a terminal that takes nothing but UTF-8."""
    return subprocess.run(
        ["bash", "-c", f'{limit} exec "$@"', "bash", sys.executable, "-B", "-m", "pylon", "new", *arguments],
        cwd=folder, env={**ENVIRONMENT, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_trains_at_once_in_a_run_directory_of_its_name(tmp_path: Path, kind: str) -> None:
    written = new(tmp_path, "my project", "--kind", kind)
    assert (written.returncode, written.stderr) == (0, "")
    assert "--config-filepath 'my project/run.py'" in written.stdout
    path = tmp_path / "my project/run.py"
    assert '"work_dir": "logs/my project"' in path.read_text()
    command = [str(REPOSITORY / "main.py"), "--config-filepath", str(path), "--device", "cpu"]
    ended = started([*command, "--set", "epochs=1", "--work-dir", str(tmp_path / "run")])
    assert ended.returncode == 0, ended.stdout + ended.stderr
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["model"]["class"].startswith(str(path)), "its own class, not that of the example"


@pytest.mark.parametrize("kind", KINDS)
def test_each_class_names_what_to_change(kind: str) -> None:
    module = ast.parse(content_of(kind, "mine"))
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    assert len(classes) >= 3
    assert [one.name for one in classes if "To change:" not in (ast.get_docstring(one) or "")] == []
    strays = [node.module for node in ast.walk(module) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in strays if name and name.startswith("pylon.configs")], "a file of its own"


@pytest.mark.parametrize(
    "name", ['"quoted"', "back\\slash", "ümläut", "new\nline", os.fsdecode(b"no-\xff-utf8")]
)
def test_any_name_of_a_folder_is_the_name_of_the_run_directory(tmp_path: Path, name: str) -> None:
    assert new(tmp_path, name).returncode == 0
    module = ast.parse((tmp_path / name / "run.py").read_bytes())
    texts = [node.value for node in ast.walk(module) if isinstance(node, ast.Constant)]
    assert f"logs/{name}" in texts


def test_name_that_begins_with_a_dash_is_no_option_of_the_command_that_is_printed(tmp_path: Path) -> None:
    written = new(tmp_path, "--", "-n")
    assert "pylon train --config-filepath ./-n/run.py\n" in written.stdout


@pytest.mark.parametrize("kind", ["file", "link"])
def test_an_existing_file_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine/run.py"
    if kind == "file":
        path.write_text("config = {}\n")
    else:
        path.symlink_to(tmp_path / "elsewhere.py")
    refused = new(tmp_path, "mine")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("mine/run.py: exists, expected")
    assert refused.stderr.count("\n") == 1
    assert path.is_symlink() if kind == "link" else path.read_text() == "config = {}\n"
    assert not (tmp_path / "elsewhere.py").exists()


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    refused = new(tmp_path, "mine")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "It is no folder" in refused.stderr


def test_what_cannot_be_written_is_named_and_leaves_no_half_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = new(tmp_path, "file/mine")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "file/mine/run.py: cannot be written: Not a directory" in refused.stderr
    limited = new(tmp_path, "mine", limit="ulimit -f 1; trap '' XFSZ;")
    assert limited.returncode == 1, limited.stderr
    assert "mine/run.py: cannot be written: File too large" in limited.stderr
    assert list((tmp_path / "mine").iterdir()) == []
