"""What a stranger does: build Pylon, install it into a fresh environment, and use it from another folder."""

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
RELEASES = ("3.11", "3.12", "3.13")
MARK = "PYLON_TEST_MARK"

_OFFLINE = re.compile(
    r"NameResolutionError|Failed to establish a new connection|Network is unreachable|Connection refused"
    r"|Temporary failure in name resolution|Could not find a version that satisfies the requirement"
)
# The test environment's own settings, which a stranger's shell does not have.
_NOT_INHERITED = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST"}


@dataclass(frozen=True)
class Installation:
    """A fresh environment with Pylon's wheel, used from `folder`, which is far from any checkout."""

    root: Path
    folder: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def pylon(self) -> Path:
        return self.root / "bin" / "pylon"

    @property
    def site_packages(self) -> Path:
        return next(self.root.glob("lib/python3.*/site-packages"))

    def environment(self, added: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        return {**kept, "OMP_NUM_THREADS": "1", **added}

    def run(
        self, *command: str | Path, timeout_s: float = 60, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self, mark: str, *command: str | Path) -> subprocess.Popen[str]:
        """Start it in a session of its own, with `mark` in its environment."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment({MARK: mark}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def interpreter(release: str) -> str:
    """A CPython of this release; the test is skipped if there is none that runs."""
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    candidates = [
        *([sys.executable] if f"{sys.version_info.major}.{sys.version_info.minor}" == release else []),
        *(str(path) for root in roots for path in sorted(root.glob(f"{release}.*/bin/python"))),
        *([found] if (found := shutil.which(f"python{release}")) else []),
    ]
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for candidate in candidates:
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        if done.stdout.strip() == release:
            return candidate
    pytest.skip(f"no CPython {release} with venv is installed")


def pip(python: Path | str, *arguments: str | Path, timeout_s: float = 500) -> None:
    """Run pip; without a package index the test is skipped, or fails if PYLON_REQUIRE_INDEX=1."""
    checked([python, "-m", "pip", "--disable-pip-version-check", *arguments], timeout_s)


def checked(command: Sequence[str | Path], timeout_s: float = 500, cwd: Path | None = None) -> None:
    """Run what may need a package index."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False, env=_plain()
    )
    if done.returncode == 0:
        return
    if _OFFLINE.search(done.stdout + done.stderr) and os.environ.get("PYLON_REQUIRE_INDEX") != "1":
        pytest.skip("no package index can be reached")
    pytest.fail(f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


# The time limit of a test does not include its fixtures: what they start has limits of its own.
def install(root: Path, release: str, wheel: Path, extra: str = "") -> Installation:
    """A fresh environment of this release with the wheel and the pinned releases of what it needs."""
    subprocess.run([interpreter(release), "-m", "venv", root / "environment"], check=True)
    made = Installation(root / "environment", root / "elsewhere")
    made.folder.mkdir()
    requirement = f"{wheel}[{extra}]" if extra else str(wheel)
    pip(made.python, "install", "-c", REPOSITORY / "constraints.txt", requirement)
    return made


def new_mark() -> str:
    return uuid.uuid4().hex


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
