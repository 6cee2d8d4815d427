import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from pylon.runners.launch.file import run_file
from pylon.runners.launch.run import Options, Outcome
from tests.runners.starts import starter

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Toy:
    """A configuration file in `folder`; `work_dir` is where it runs."""

    folder: Path

    @property
    def work_dir(self) -> Path:
        return self.folder / "run"

    def write(self, changes: str = "") -> Path:
        path = self.folder / "toy_config_file.py"
        path.write_text(
            "import torch\n"
            "from tests.runners.toy import *\n"
            f"config = toy_config({str(self.work_dir)!r}, {changes})\n"
        )
        return path

    def run(self, changes: str = "", **options: Any) -> Outcome:
        """Run in this process."""
        return run_file(self.write(changes), Options(device="cpu", **options), Console(file=io.StringIO()))

    def command(self, changes: str = "", *arguments: str) -> list[str]:
        return self.command_of(self.write(changes), *arguments)

    def command_of(self, config: Path, *arguments: str) -> list[str]:
        main = str(REPOSITORY / "main.py")
        return [sys.executable, main, "--config-filepath", str(config), "--device", "cpu", *arguments]

    def launch(self, changes: str = "", *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run as a user does, in a process of its own; see tests/runners/starts.py for what is prepared."""
        return self.launch_file(self.write(changes), *arguments)

    def launch_file(self, config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return started(self.command_of(config, *arguments)[1:])


# A small process needs one thread; the two cores are shared with the test itself.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}


def started(
    command: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path = REPOSITORY
) -> "subprocess.CompletedProcess[str]":
    """Run a Python file in a prepared process, in `folder` and with more in its environment."""
    full = {**ENVIRONMENT, **(environment or {})}
    return starter(tuple(ENVIRONMENT.items())).run(command, full, timeout_s=100, folder=folder)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the launched processes: sums of floats depend on how many threads add them up."""
    former = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(former)


@pytest.fixture(autouse=True)
def no_picture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process draw no curves.png, which is half of a toy run, but where a test looks at it."""
    if request.node.get_closest_marker("draws") is None:
        monkeypatch.setattr("pylon.runners.outputs.curve_drawing.draw_curves", lambda *_: None)


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


@pytest.fixture
def make_toy(tmp_path: Path) -> Callable[[str], Toy]:
    def make(name: str) -> Toy:
        (tmp_path / name).mkdir()
        return Toy(tmp_path / name)

    return make
