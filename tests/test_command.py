"""`pylon COMMAND`: one light door to every command."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from pylon import command as commands
from pylon.command import COMMANDS
from pylon.extras import TRAIN_MODULES

REPOSITORY = Path(__file__).resolve().parent.parent


def pylon(*arguments: str, before: str = "", cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """`pylon ARGUMENTS`, in a process that executes `before` first."""
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); {before or 'pass'}\n"
    code += f"from pylon.command import main\nsys.exit(main({list(arguments)!r}))"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_shows_an_example_and_loads_nothing_heavy(name: str) -> None:
    heavy = "torch numpy paramiko rich PIL"
    at_exit = (
        f"import atexit; atexit.register(lambda: print('loaded', set('{heavy}'.split()) & set(sys.modules)))"
    )
    shown = pylon(name, "--help", before=at_exit)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"\n  pylon {name} " in shown.stdout
    assert shown.stdout.endswith("loaded set()\n")


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, {"GOMP_SPINCOUNT": "20000"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "passive"}, {"OMP_WAIT_POLICY": "passive"}),
    ],
)
def test_threads_of_training_wait_awake_for_less_unless_the_user_has_chosen(
    chosen: dict[str, str], expected: dict[str, str]
) -> None:
    before = (
        "import atexit, os; names = ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY');"
        "[os.environ.pop(name, 0) for name in names];"
        f"os.environ.update({chosen!r});"
        "atexit.register(lambda: print({n: os.environ[n] for n in names if n in os.environ}))"
    )
    assert pylon("train", "--help", before=before).stdout.endswith(f"{expected}\n")
    assert pylon("once", "--help", before=before).stdout.endswith(f"{chosen}\n")


def test_run_that_fails_is_no_success_where_the_ends_of_children_were_ignored(tmp_path: Path) -> None:
    """Some daemons that start jobs ignore SIGCHLD, and what they start does it then too."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text("config = {}\n")
    ended = pylon(
        "train",
        *("--config-filepath", str(wrong), str(wrong)),
        before="import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    )
    assert ended.returncode == 2
    assert ended.stdout.count("exit code 2") == 2


@pytest.mark.parametrize(("soft", "hard", "expected"), [(256, 4096, 4096), (4096, 4096, 4096)])
def test_training_may_open_as_many_files_as_the_user_may(soft: int, hard: int, expected: int) -> None:
    before = (
        f"import atexit, resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}));"
        "atexit.register(lambda: print(resource.getrlimit(resource.RLIMIT_NOFILE)))"
    )
    assert pylon("train", "--help", before=before).stdout.endswith(f"({expected}, {hard})\n")
    assert pylon("once", "--help", before=before).stdout.endswith(f"({soft}, {hard})\n")


def test_signals_that_were_blocked_reach_a_command() -> None:
    before = (
        "import atexit, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT]);"
        "atexit.register(lambda: print('blocked', signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    )
    for command in ("train", "serve", "watch"):
        assert pylon(command, "--help", before=before).stdout.endswith("blocked set()\n")


def test_help_lists_every_command() -> None:
    shown = pylon("--help")
    assert shown.returncode == 0
    for name, command in COMMANDS.items():
        assert name in shown.stdout
        assert command.summary in shown.stdout


def test_no_command_shows_the_help_on_standard_error() -> None:
    ended = pylon()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "usage: pylon" in ended.stderr


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("tarin", "Did you mean 'pylon train'?"),
        ("wach", "Did you mean 'pylon watch'?"),
        ("x", "one of: new, train,"),
    ],
)
def test_unknown_command_is_refused_with_the_nearest_one(word: str, answer: str) -> None:
    ended = pylon(word, "--help")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"{word!r} is no command" in ended.stderr
    assert answer in ended.stderr


def test_version_is_that_of_the_distribution() -> None:
    assert pylon("--version").stdout == f"pylon {metadata.version('pylon-runner')}\n"


def test_python_m_pylon_is_the_command() -> None:
    command = [sys.executable, "-m", "pylon", "once", "--no-gpu"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("CPU")


@pytest.mark.parametrize("module", sorted(TRAIN_MODULES))
def test_training_without_a_library_names_the_extra(module: str, tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text("config = {}\n")
    ended = pylon(
        "train", "--config-filepath", "run.py", before=f"sys.modules[{module!r}] = None", cwd=tmp_path
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert repr(module) in ended.stderr
    assert "extra 'train'" in ended.stderr


def test_main_py_without_a_library_names_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys, runpy; sys.modules['torch'] = None; "
        "sys.argv = ['main.py', '--config-filepath', 'x.py']; "
        f"sys.path.insert(0, {str(REPOSITORY)!r}); "
        f"runpy.run_path({str(REPOSITORY / 'main.py')!r}, run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "extra 'train'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_public_name_of_runners_without_a_library_names_the_extra() -> None:
    code = "import sys; sys.modules['torch'] = None; from pylon.runners import SupervisedSingleTaskTrainer"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("pylon.extras.MissingExtraError: Training needs 'torch'")


def test_extra_train_is_what_the_distribution_declares() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.match(r"[\w-]+", line)[0] for line in project["optional-dependencies"]["train"]}
    assert {"PIL" if name == "pillow" else name for name in declared} == TRAIN_MODULES


def test_runners_give_out_every_public_name_and_no_other() -> None:
    import pylon.runners
    from pylon.runners import public

    assert set(public.__all__) <= set(dir(pylon.runners))
    assert all(getattr(pylon.runners, name) is getattr(public, name) for name in public.__all__)
    with pytest.raises(AttributeError, match=r"module 'pylon\.runners' has no attribute 'Trainer'"):
        _ = pylon.runners.Trainer


def test_removed_working_folder_is_named(tmp_path: Path) -> None:
    """torch itself ends a process there, with a message about a library."""
    gone = tmp_path / "gone"
    code = "import os, sys; from pylon.command import main; os.mkdir(sys.argv[1]); os.chdir(sys.argv[1])"
    code += "; os.rmdir(sys.argv[1]); sys.exit(main(['train', '--config-filepath', 'run.py']))"
    ended = subprocess.run(
        [sys.executable, "-c", code, str(gone)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("pylon train: the working folder no longer exists")


@pytest.mark.parametrize("name", ["train", "once"])
def test_absent_proc_is_named_with_its_fix(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(commands, "_PROC", tmp_path / "self/stat")
    arguments = ["--config-filepath", "run.py"] if name == "train" else []
    assert commands.main([name, *arguments]) == 2
    assert "/proc is not there" in capsys.readouterr().err
