"""`pylon watch` where there is no terminal: lines, and runs next to the servers."""

import dataclasses
import json
from pathlib import Path

import pytest

from pylon.command import main
from pylon.views.cli.run_lines import RunLines
from tests.recorder.synthetic import EVIL, Run, write_history


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    run = Run(seconds=60, epoch_s=20, gpus=1)
    write_history(tmp_path / "runs/a/history.sqlite", run, commit_every=60)
    write_history(tmp_path / "runs/b/history.sqlite", dataclasses.replace(run, name=EVIL), commit_every=60)
    return tmp_path / "runs"


def test_a_pipe_gets_a_line_per_server_and_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["watch", str(runs), str(runs / "absent"), "--no-gpu", "--interval-s", "0.2", "--count", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert any("localhost" in line for line in lines)
    assert any("run synthetic: killed: Killed by the kernel" in line for line in lines)
    assert any("absent: does not exist" in line for line in lines)
    assert all(line.isprintable() for line in lines)


def test_json_has_the_runs_and_no_command_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["watch", str(runs), "--no-gpu", "--interval-s", "0.2", "--count", "1", "--json"])
    record = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {one["state"] for one in record["runs"]} == {"killed"}
    assert {"epoch", "step", "loss", "step_s", "wait_s", "verdict", "alerts"} <= set(record["runs"][0])
    assert "--config-filepath" not in json.dumps(record["runs"])
    assert record["run_problems"] == []


def test_runs_that_begin_later_are_found(tmp_path: Path) -> None:
    assert RunLines([tmp_path / "later"]).lines() == [
        f"{tmp_path}/later: does not exist. Give a run directory, or a folder of them"
    ]
