"""A configuration file that cannot be read is reported before torch is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from pylon.runners.errors import ConfigError
from pylon.runners.source import check_source
from tests.runners.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("absent.py", None, ["--config-filepath is", "expected an existing file"]),
        ("run_0.yaml", "a: 1\n", ["file is '.yaml'", "expected a .py or .json file"]),
        ("run_0.py", "x = 1\nconfig = {'a': 1,\n", ["line 2", "SyntaxError: '{' was never closed"]),
        ("run_0.py", "def f():\nx = 1\n", ["line 2", "IndentationError"]),
        ("run_0.py", "x = '\0'\n", ["null byte"]),
    ],
)
def test_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, text: str | None, words: list[str]
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        check_source(path)
    for word in [f"{path}: 1 problem", *words]:
        assert word in str(raised.value)


def test_nothing_of_the_file_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "run_0.py"
    path.write_text("raise SystemExit(9)\n")
    check_source(path)


def test_command_names_file_and_line_with_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "run_0.py"
    path.write_text("config = {\n")
    ended = subprocess.run(
        [sys.executable, "main.py", "--config-filepath", str(path)], cwd=REPOSITORY, capture_output=True,
        text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr == f"{path}: 1 problem\n  line 1: SyntaxError: '{{' was never closed\n"


def test_the_check_needs_no_torch() -> None:
    code = "import sys, pylon.command, pylon.runners.source; sys.exit('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=60, check=False)
    assert ended.returncode == 0
