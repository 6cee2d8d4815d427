"""The benchmark of commands under the wrapper runs in its quick form."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_command_under_the_wrapper_is_measured() -> None:
    # It waits for any child of its own process.
    words = [sys.executable, "-m", "benchmarks.recorder.wrapper", "--quick"]
    folder = Path(__file__).resolve().parents[2]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "| pylon run | x " in done.stdout
