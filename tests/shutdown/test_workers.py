"""The stress of loader workers: what it takes for a finding, and that it ends when a trial hangs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.shutdown.workers import Outcome, draw, wrong

REPOSITORY = Path(__file__).resolve().parents[2]

HANGS = """
import sys, time
from tests.shutdown import workers

def hang(self, index):
    time.sleep(60)

if __name__ == "__main__":
    workers._HANGS_AFTER_S = 2.0
    workers.Batches.__getitem__ = hang
    workers._hit = lambda trial, seed, hits: None
    sys.exit(workers.main(["--only", "18:0"]))
"""


def run(*command: str, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=REPOSITORY, env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Outcome("finished", None, 0), ""),
        (Outcome("finished", 0.5, 0), ""),
        (Outcome("LoaderWorkerError", 2.0, 0), ""),
        (Outcome("LoaderWorkerError", None, 0), "no worker was hit"),
        (Outcome("LoaderWorkerError", 16.0, 0), "16.0 s after the hit"),
        (Outcome("LoaderWorkerError", 1.0, 2), "2 workers are left"),
        (Outcome("RuntimeError('killed')", 1.0, 0), "ended with RuntimeError"),
    ],
)
def test_what_is_wrong(outcome: Outcome, word: str) -> None:
    assert (wrong(outcome) == "") is (word == "")
    assert word in wrong(outcome)


def test_trial_is_repeated_by_its_name() -> None:
    assert draw(3, 7) == draw(3, 7)
    assert len({draw(3, index) for index in range(20)}) > 15


@pytest.mark.slow
def test_few_trials_end_without_a_finding() -> None:
    ended = run("-m", "tests.shutdown.workers", "--minutes", "0.1", "--seed", "18", seconds=110)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "no finding"


@pytest.mark.slow
def test_trial_that_hangs_is_ended_with_its_stacks(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(HANGS)
    ended = run(str(program), seconds=60)
    assert ended.returncode == 1
    assert "batch_pipe.py" in ended.stdout or "queues.py" in ended.stdout
