"""A configuration from before Pylon's packages were in `pylon`: the error names the new import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runners.conftest import ENVIRONMENT, REPOSITORY

pytestmark = pytest.mark.slow

# Import, and what to write in its place.
IMPORTS = {
    "from data.transforms import Compose": "from pylon.data.transforms import Compose",
    "import runners": "from pylon import runners",
    "from models import HANet": "from pylon.models import HANet",
    "from models.hanet.hanet import HANet": "from pylon.models import HANet",
    "from data import (\n    DataLoader,\n    DataError,\n)": "from pylon.data import DataLoader, DataError",
    "from runners.supervised import NoSuchClass": "from pylon.runners.supervised import NoSuchClass",
}
LOAD = """
import sys
from pathlib import Path
from pylon.runners.config import load_config
from pylon.runners.errors import ConfigError
for path in sys.argv[1:]:
    try:
        load_config(Path(path))
    except ConfigError as error:
        print(error)
    else:
        print(path, "is loaded")
"""


def write(folder: Path, statement: str) -> Path:
    path = folder / f"run_{len(list(folder.iterdir()))}.py"
    path.write_text(f"x = 1\n{statement}\nconfig = {{}}\n")
    return path


def load_installed(folder: Path, *paths: Path) -> str:
    """Load the files where no folder of the checkout but `pylon` is found, as in an installation."""
    site = folder / "site"
    site.mkdir()
    (site / "pylon").symlink_to(REPOSITORY / "pylon")
    return load_in(site, *paths)


def load_in_checkout(*paths: Path) -> str:
    return load_in(REPOSITORY, *paths)


def load_in(root: Path, *paths: Path) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, paths)], cwd=root,
        env={**ENVIRONMENT, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    return ended.stdout


@pytest.mark.parametrize("where", ["checkout", "installation"])
def test_old_import_names_file_line_and_the_new_one(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "exp"
    folder.mkdir()
    paths = [write(folder, old) for old in IMPORTS]
    said = load_in_checkout(*paths) if where == "checkout" else load_installed(tmp_path, *paths)
    for path, new in zip(paths, IMPORTS.values(), strict=True):
        about = said.partition(f"{path}: 1 problem\n")[2].partition(str(folder))[0]
        assert about.startswith("  line 2: imports "), said
        assert f"write '{new}'" in about


@pytest.mark.parametrize("where", ["checkout", "installation"])
def test_old_import_in_a_module_next_to_the_configuration_is_named_there(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "exp"
    folder.mkdir()
    path = write(folder, "import helper")
    (folder / "helper.py").write_text("\n\nfrom models import HANet\n")
    (folder / "models").mkdir()  # of weights, say: no module of the user's
    said = load_in_checkout(path) if where == "checkout" else load_installed(tmp_path, path)
    assert f"line 2: in {folder / 'helper.py'}, line 3: imports 'models'" in said
    assert "write 'from pylon.models import HANet'" in said


@pytest.mark.parametrize("where", ["checkout", "installation"])
def test_module_of_ones_own_with_an_old_name_is_not_taken_for_pylons(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "exp"
    folder.mkdir()
    paths = [write(folder, one) for one in ("from models import Net", "from models import HANet")]
    (folder / "models.py").write_text("class Net: pass\n")
    said = load_in_checkout(*paths) if where == "checkout" else load_installed(tmp_path, *paths)
    assert f"{paths[0]} is loaded" in said
    assert f"cannot import name 'HANet' from 'models' ({folder / 'models.py'})" in said
    assert "pylon" not in said


def test_command_ends_with_exit_code_2(tmp_path: Path) -> None:
    path = write(tmp_path, "from models import HANet")
    ended = subprocess.run(
        [sys.executable, "main.py", "--config-filepath", str(path), "--device", "cpu"], cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert f"{path}: 1 problem\n  line 2: imports 'models'" in ended.stderr
    assert "Traceback" not in ended.stderr
