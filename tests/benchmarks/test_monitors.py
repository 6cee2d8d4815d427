"""The benchmark of monitors runs, measures the monitors that are installed and prints its table."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.monitor.nvml_stand_in import StandIn

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_quick_run_prints_a_table_with_pylon_beside_others(tmp_path: Path) -> None:
    StandIn(tmp_path)  # skips where there is no C compiler
    command = [sys.executable, "-m", "benchmarks.monitors", "--quick", "--seconds", "1", "--parts", "cpu"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    rows = [line.split(" | ")[0] for line in ran.stdout.splitlines() if line.startswith("| ")]
    assert rows[:4] == ["| subject", "| ---", "| none", "| Pylon"]
    assert "| plain thread" in rows
    assert ran.stderr == ""
