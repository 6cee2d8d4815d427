"""Each package has one name, `pylon.<package>`, in a checkout and in every kind of copy of one."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jedi
import pytest

from tests.runners.conftest import ENVIRONMENT, Toy

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = sorted(path.name for path in (REPOSITORY / "pylon").iterdir() if path.is_symlink())
COPIED = ("pylon", *PACKAGES, "main.py")
# Modules of one file, by that file: of two names, one would be another copy of each class.
TWICE = """
import sys
from collections import defaultdict
from pathlib import Path

def twice():
    names = defaultdict(set)
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None):
            names[Path(module.__file__).resolve()].add(name)
    root = Path(ROOT).resolve()
    own = [(root / folder).resolve() for folder in (root / "pylon").iterdir()] + [root / "pylon"]
    ours = {path: found for path, found in names.items() if set(own) & {path, *path.parents}}
    return {str(path): sorted(found) for path, found in ours.items() if len(found) > 1}
"""


def python(code: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env={**ENVIRONMENT, "PYTHONPATH": "", **more},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_there_are_links() -> None:
    assert "monitor" in PACKAGES
    assert "runners" in PACKAGES


@pytest.mark.ci
def test_import_without_pylon_is_refused_with_the_right_import() -> None:
    code = (
        f"import importlib\nfor package in {PACKAGES!r}:\n"
        "    try:\n        importlib.import_module(package)\n"
        "    except ImportError as error:\n        print(error)\n"
    )
    done = python(code, REPOSITORY)
    assert done.returncode == 0, done.stderr
    for line, package in zip(done.stdout.splitlines(), PACKAGES, strict=True):
        assert line == f"'{package}' is 'pylon.{package}': write 'from pylon.{package} import ...'"


@pytest.mark.ci
def test_training_and_its_monitors_load_each_file_under_one_name(tmp_path: Path) -> None:
    config = Toy(tmp_path).write("epochs=1, monitor={'class': SystemMonitor, 'args': {'gpu': False}}")
    config.write_text("from pylon.monitor import SystemMonitor\n" + config.read_text())
    code = (
        f"ROOT = {str(REPOSITORY)!r}\n{TWICE}\n"
        "import main\n"
        f"code = main.main(['--config-filepath', {str(config)!r}, '--device', 'cpu'])\n"
        "print('twice', twice()); sys.exit(code)"
    )
    done = python(code, REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert "twice {}" in done.stdout


def test_file_that_is_loaded_twice_is_noticed(tmp_path: Path) -> None:
    code = (
        f"ROOT = {str(REPOSITORY)!r}\n{TWICE}\n"
        "import pylon.storage, importlib.util\n"
        "spec = importlib.util.spec_from_file_location('other', pylon.storage.__file__)\n"
        "sys.modules['other'] = importlib.util.module_from_spec(spec); print('twice', twice())"
    )
    done = python(code, REPOSITORY)
    assert "'other', 'pylon.storage'" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("package", "name", "home"),
    [
        ("pylon.monitor", "SystemMonitor", "pylon/monitor/system.py"),
        ("pylon.runners", "Retention", "pylon/runners/run_directory/retention.py"),
    ],
)
def test_editor_finds_definitions_behind_links(
    package: str, name: str, home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jedi.settings, "cache_directory", str(tmp_path))  # a home may be read-only
    script = jedi.Script(
        f"from {package} import {name}\n{name}\n",
        path=REPOSITORY / "own.py",
        project=jedi.Project(REPOSITORY),
    )
    found = script.goto(2, 1, follow_imports=True)
    assert [one.module_path for one in found] == [REPOSITORY / home]


def archive(target: Path) -> None:
    tar = subprocess.run(["git", "archive", "HEAD", *COPIED], cwd=REPOSITORY, capture_output=True, check=True)
    subprocess.run(["tar", "x", "-C", target], input=tar.stdout, check=True)


def copied(*options: str) -> Callable[[Path], None]:
    def copy(target: Path) -> None:
        subprocess.run(["cp", *options, *(REPOSITORY / name for name in COPIED), target], check=True)

    return copy


COPIES = {"git archive": archive, "cp -r": copied("-r"), "cp -rL": copied("-rL")}


@pytest.mark.ci
@pytest.mark.parametrize("how", COPIES)
def test_copy_on_a_path_with_a_blank_works_and_uses_its_own_files(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "a copy"
    folder.mkdir()
    COPIES[how](folder)
    for words in (["-m", "pylon", "once"], ["-m", "monitor", "once"]):
        done = subprocess.run(
            [sys.executable, *words, "--no-gpu"], cwd=folder, capture_output=True, text=True, timeout=60,
            check=False, env={**ENVIRONMENT, "PYTHONPATH": ""},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
    code = (
        f"ROOT = {str(folder)!r}\n{TWICE}\n"
        "import main, pylon.runners.launch.several, pylon.configs.examples.stages\n"
        "print('twice', twice(), pylon.__file__)"
    )
    done = python(code, folder)
    assert done.returncode == 0, done.stderr
    assert f"twice {{}} {folder}" in done.stdout


def test_copy_that_has_lost_its_links_is_refused_with_the_way_to_copy(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "pylon", tmp_path / "pylon", symlinks=True)
    shutil.copy(REPOSITORY / "main.py", tmp_path)
    for link in [path for path in (tmp_path / "pylon").iterdir() if path.is_symlink()]:
        # What Python's zipfile, and git with core.symlinks=false, make of a link.
        content = str(link.readlink())
        link.unlink()
        link.write_text(content)
    for words in (["main.py", "--config-filepath", "x.py"], ["-m", "pylon", "once"]):
        done = subprocess.run(
            # Without site packages: an editable installation of this checkout would find what the copy lacks.
            [sys.executable, "-S", *words], cwd=tmp_path, env={**ENVIRONMENT, "PYTHONPATH": ""},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        assert "has lost its links" in done.stderr
        assert done.stderr.count("\n") == 1
