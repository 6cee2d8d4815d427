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


CONFIG = """
import torch
from pylon.runners import SupervisedSingleTaskTrainer as Trainer
{before}
config = {{
    "runner": {{"class": Trainer, "args": {{"score": "f1"}}}},
    "optimzer": {{"class": torch.optim.SGD, "args": {{"lr": 0.1}}}},
    "train_dataset": dataset("train"),
}}
{after}
"""


def problems_of(
    tmp_path: Path, *overrides: str, before: str = "", after: str = "", old: str = "", new: str = ""
) -> str:
    path = tmp_path / "run_0.py"
    path.write_text(CONFIG.format(before=before, after=after).replace(old or "no such text", new))
    try:
        check_source(path, overrides)
    except ConfigError as error:
        return str(error)
    return ""


def test_misspelt_key_of_a_written_configuration_is_named(tmp_path: Path) -> None:
    found = problems_of(tmp_path)
    assert "optimzer: the configuration does not take it; did you mean 'optimizer'?" in found


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizr.args.lr=1", "the configuration has no 'optimizr'; did you mean 'optimizer'?"),
        ("optimizer.arg.lr=1", "--set optimizer.arg.lr: optimizer has no 'arg'; did you mean 'args'?"),
        ("epochs", "--set is 'epochs': expected KEY.PATH=VALUE"),
    ],
)  # fmt: skip
def test_override_that_cannot_be_right_is_named(tmp_path: Path, override: str, words: str) -> None:
    assert words in problems_of(tmp_path, override, old="optimzer", new="optimizer")


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.args.lr=1",
        "optimizer.args.momentum=1",
        "scheduler=None",
        "train_dataset.args.split=val",
    ],
)
def test_override_that_may_be_right_is_left_to_the_full_check(tmp_path: Path, override: str) -> None:
    assert problems_of(tmp_path, override, old="optimzer", new="optimizer") == ""


def test_override_below_one_that_sets_the_whole_is_left_to_the_full_check(tmp_path: Path) -> None:
    overrides = ('scheduler={"class": "a:B", "args": {}}', "scheduler.args.gamma=1")
    assert problems_of(tmp_path, *overrides, old="optimzer", new="optimizer") == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "config['optimizer'] = config.pop('optimzer')"),
        ("", "def change():\n    global config\n    config = {}\nchange()"),
        ("", "from elsewhere import *"),
        ("", "globals()['con' + 'fig'] = {}"),
        ("", "for config in [{}]: pass"),
        ("class Trainer(Trainer):\n    OPTIONAL_KEYS = frozenset({'optimzer'})", ""),
    ],
)
def test_keys_are_judged_only_where_the_text_decides(tmp_path: Path, before: str, after: str) -> None:
    assert problems_of(tmp_path, before=before, after=after) == ""


def test_misspelt_key_and_override_are_reported_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "run_0.py"
    path.write_text(CONFIG.format(before="", after=""))
    code = (
        "import sys; from pylon.command import main; "
        f"code = main(['train', '--config-filepath', {str(path)!r}, '--set', 'epoch']); "
        "sys.exit(code if 'torch' not in sys.modules else 99)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{path}: 2 problems")
