"""The benchmark of the models runs, in its smallest form."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_table_has_each_model_in_both_precisions_with_figures() -> None:
    command = [sys.executable, "-m", "benchmarks.models", "--models", "FCEF"]
    smallest = ["--rounds", "1", "--pairs", "1", "--size", "16", "--threads", "1"]
    ended = subprocess.run(
        [*command, *smallest], cwd=REPOSITORY, capture_output=True, text=True, timeout=110, check=False
    )
    assert ended.returncode == 0, ended.stderr
    rows = [line.strip("| ").split(" | ") for line in ended.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["FCEF, float32", "FCEF, bfloat16"]
    assert all(float(figure) >= 0 for row in rows for figure in row[1:])
