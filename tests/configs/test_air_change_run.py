"""The AirChange benchmark's own configuration file, unchanged, on files in exactly the published layout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.samples import write_air_change

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = "configs/benchmarks/change_detection/air_change/HANet_run_1.py"


def run(datasets: Path, work_dir: Path) -> subprocess.CompletedProcess[str]:
    # Only the model is made narrow: 12 million multiplications per pixel are for longer than a test.
    return subprocess.run(
        [sys.executable, "main.py", "--config-filepath", CONFIG, "--work-dir", str(work_dir), "--debug",
         "--device", "cpu", "--set", "model.args.width=2", "monitor=null"],
        cwd=REPOSITORY, env={**os.environ, "PYLON_DATASETS": str(datasets), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


@pytest.mark.ci
@pytest.mark.timeout(300)
def test_benchmark_runs_on_the_day_the_files_are_there(tmp_path: Path) -> None:
    work_dir = tmp_path / "run"
    missing = run(tmp_path / "datasets", work_dir)
    assert missing.returncode == 3, missing.stderr
    assert "SZTAKI" in missing.stderr
    write_air_change(tmp_path / "datasets" / "air_change")
    ended = run(tmp_path / "datasets", work_dir)
    assert ended.returncode == 0, ended.stderr
    assert "3744 training and 12 validation datapoints" in ended.stdout
    results = json.loads((tmp_path / "run.debug" / "test" / "test_results.json").read_text())
    assert results["per_datapoint"]["idx"] == [0, 1, 2]
    assert set(results["baselines"]) >= {"all_unchanged", "random_uniform"}
    assert sorted(path.name for path in (tmp_path / "run.debug" / "predictions").iterdir()) == [
        "00000.png",
        "00001.png",
        "00002.png",
    ]
