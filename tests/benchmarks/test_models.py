"""The benchmark of the models runs, in its smallest form."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_that_is_not_there_is_one_line() -> None:
    command = [sys.executable, "-m", "benchmarks.models", "--device", "cuda"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].endswith(
        f"--device cuda: torch {torch.__version__} finds no GPU here"
    )
