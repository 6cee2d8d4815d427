"""What changed between two launches besides the configuration is logged."""

import json
from typing import Any

import pytest

from pylon.runners.errors import TrainingError
from pylon.runners.launch.surroundings import warn_of_changes
from pylon.runners.run_directory.directory import RunDirectory
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on

KEYS = {
    "packages.torch": "2.5.0", "hardware.torch_threads": 96, "hardware.cpu": "another", "python": "3.9.1",
    "hardware.own_gpu_kernels": "0",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0, 2])
def test_other_versions_and_threads_are_named_at_a_resume_and_lost_lines_too(toy: Toy, kept: int) -> None:
    with pytest.raises(TrainingError):
        toy.run(failing(5, "raise"))
    let_it_go_on(toy)
    path, log = toy.work_dir / "environment.json", toy.work_dir / "train.log"
    content = json.loads(path.read_text())
    for key, value in KEYS.items():
        *groups, name = key.split(".")
        place: dict[str, Any] = content["launches"][-1]
        for group in groups:
            place = place[group]
        place[name] = value
    path.write_text(json.dumps(content))
    lines = (toy.work_dir / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (toy.work_dir / "metrics.jsonl").write_bytes(b"".join(lines[:kept]))
    toy.run()
    text = log.read_text()
    warning = next(line for line in text.splitlines() if "ran on something else" in line)
    assert all(f"{key}: was {value}, now " in warning for key, value in KEYS.items())
    assert warning.count(": was ") == len(KEYS)
    assert f"metrics.jsonl: lines are lost: it ends after step {kept} of the run, expected 3" in text


def test_run_without_results_and_unknown_former_values_are_no_change(
    toy: Toy, caplog: pytest.LogCaptureFixture
) -> None:
    directory = RunDirectory(toy.work_dir)
    current = {"python": "3.11.7", "packages": {"torch": "2.13.0"}, "configuration_files": {"/b/run.py": "2"}}
    former = {"python": "3.12.1", "packages": None, "configuration_files": {"/a/run.py": "1"}}
    warn_of_changes(former, current, directory)
    assert not caplog.records
    directory.checkpoint(0).parent.mkdir(parents=True)
    directory.checkpoint(0).touch()
    warn_of_changes(former, current, directory)
    moved, versions = (record.getMessage() for record in caplog.records)
    assert moved.startswith("/b/run.py: changed since")
    assert "(python: was 3.12.1, now 3.11.7)" in versions
