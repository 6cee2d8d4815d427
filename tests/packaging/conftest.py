import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packaging.installation import REPOSITORY, checked


@dataclass(frozen=True)
class Distributions:
    """What is published.

    Attributes:
        wheel: built from the source distribution, as `python -m build` does.
        direct: a wheel built from the checkout, as `pip install .` does.
        source: the source distribution.
    """

    wheel: Path
    direct: Path
    source: Path


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    root = tmp_path_factory.mktemp("distributions")
    checkout = root / "a checkout"  # the blank is part of the test
    copy_of_checkout(checkout)
    checked([sys.executable, "-m", "build", "--outdir", root / "built", checkout])
    checked([sys.executable, "-m", "build", "--wheel", "--outdir", root / "direct", checkout])
    return Distributions(
        wheel=next((root / "built").glob("*.whl")),
        direct=next((root / "direct").glob("*.whl")),
        source=next((root / "built").glob("*.tar.gz")),
    )


def copy_of_checkout(target: Path) -> None:
    """What git knows of, links as links, without what earlier builds left behind."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, target / name, follow_symlinks=False)
