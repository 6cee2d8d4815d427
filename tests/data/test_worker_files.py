"""Temporary folders of loader workers, after ends of all kinds."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# Each batch is handed over through a socket in the temporary folder.
LOAD = """
import sys
from pylon.data import DataLoader
from tests.runners.toy import ToyDataset

loader = DataLoader(ToyDataset(data_root=".", split="train"), batch_size=1, num_workers=2)
loader.set_epoch_seed(1)
batches = iter(loader)
next(batches), next(batches)
print("loaded", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    # The path of a socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="pylon-", dir="/tmp") as folder:
        yield Path(folder)


def loading(temporary: Path) -> "subprocess.Popen[str]":
    """A process that has loaded two batches and waits for the end of its input, its workers too."""
    environment = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD], cwd=REPOSITORY, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "loaded\n"
    return process


def folders(temporary: Path) -> set[str]:
    return {path.name for path in temporary.glob("pymp-*")}


@pytest.mark.slow
def test_killed_run_leaves_one_folder_which_the_next_run_removes_and_none_of_a_living_one(
    temporary: Path,
) -> None:
    others = temporary / "pymp-of_another_program"
    others.mkdir()
    with loading(temporary) as living, loading(temporary) as killed:
        of_both = folders(temporary) - {others.name}
        assert len(of_both) == 2, "the workers share the folder of the process that loads"
        killed.kill()
        killed.wait(20)
        with loading(temporary) as later:
            kept = folders(temporary) - {others.name}
            assert len(kept & of_both) == 1, "the one of the living process stays"
            assert len(kept) == 2
            later.communicate(timeout=60)
        living.communicate(timeout=60)
    assert living.returncode == later.returncode == 0
    assert killed.returncode == -signal.SIGKILL
    assert folders(temporary) == {others.name}
