"""Several stages in one file: run, resumed and ended by the same command as single runs are."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pylon.runners.errors import RunStopped
from pylon.runners.launch import stages
from pylon.runners.launch.run import Outcome
from tests.runners.conftest import ENVIRONMENT, REPOSITORY
from tests.runners.staged import NAMES, Staged, everything, log, make_staged, state, written

pytestmark = pytest.mark.ci


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    return make_staged(tmp_path / "staged")


@pytest.fixture
def whole(tmp_path: Path) -> Staged:
    return make_staged(tmp_path / "whole", run=True)


def test_each_stage_runs_in_its_directory_and_starts_where_the_earlier_one_was_best(whole: Staged) -> None:
    root = whole.work_dir
    assert sorted(path.name for path in root.iterdir()) == sorted(NAMES)
    assert [state(root, name) for name in NAMES] == ["finished"] * 3
    best = (root / "first" / "checkpoint_best.pt").resolve()
    assert f"starting with the weights of {best}" in log(root, "second")
    own = json.loads((root / "second" / "test" / "test_results.json").read_text())
    tested = json.loads((root / "third" / "test" / "test_results.json").read_text())
    assert tested["per_datapoint"] == own["per_datapoint"]
    assert not Path("nowhere").exists()


def test_shipped_example_runs(tmp_path: Path) -> None:
    example = REPOSITORY / "configs" / "examples" / "stages.py"
    command = [
        sys.executable,
        "main.py",
        "--config-filepath",
        str(example),
        "--work-dir",
        str(tmp_path / "r"),
    ]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, timeout=110, check=False
    )
    assert ended.returncode == 0, ended.stderr
    scores = [
        json.loads((tmp_path / "r" / name / "state.json").read_text())["result"]["test"]["wrong"]
        for name in ("pretrain", "finetune", "test")
    ]
    assert scores[1] == scores[2] != scores[0]


@pytest.mark.parametrize(("how", "code"), [("SIGKILL", -9), ("SIGTERM", 75)])
def test_ended_in_the_second_stage_it_goes_on_there_to_the_same_bits(
    staged: Staged, whole: Staged, how: str, code: int
) -> None:
    ended = staged.launch(END_AT_CALL="5", END_BY=how)
    assert ended.returncode == code, ended.stderr
    root = staged.work_dir
    assert state(root, "second") == ("running" if how == "SIGKILL" else "preempted")
    assert not (root / "third").exists()
    before = written(root / "first")
    resumed = staged.launch()
    assert resumed.returncode == 0, resumed.stderr
    assert written(root / "first") == before, "the first stage is finished and must not run again"
    assert "this run is finished" in log(root, "first")
    assert "resuming after 1 finished epochs" in log(root, "second")
    assert log(root, "second").count("starting with the weights of") == 1
    assert everything(root) == everything(whole.work_dir)


def test_stage_that_fails_ends_the_whole_with_its_exit_code_and_name(staged: Staged) -> None:
    ended = staged.launch(END_AT_CALL="2", END_BY="raise")
    assert ended.returncode == 1
    assert "RuntimeError: the criterion broke" in ended.stderr
    assert "This was stage 'second', 2 of 3." in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr.replace("The traceback is in", "")
    assert state(staged.work_dir, "first") == "finished"
    assert not (staged.work_dir / "third").exists()


def test_stopped_between_two_stages_the_next_one_does_not_begin(
    staged: Staged, whole: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stages.run_config

    def and_stop(*arguments: Any) -> Outcome:
        outcome = run(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)
        return outcome

    with monkeypatch.context() as patch, pytest.raises(RunStopped):
        patch.setattr(stages, "run_config", and_stop)
        staged.run()
    assert [path.name for path in staged.work_dir.iterdir()] == ["first"]
    staged.run()
    assert everything(staged.work_dir) == everything(whole.work_dir)


def test_stop_that_comes_before_a_stage_looks_for_it_is_not_lost(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stages.run_config

    def stopped_before(*arguments: Any) -> Outcome:
        os.kill(os.getpid(), signal.SIGTERM)
        return run(*arguments)

    monkeypatch.setattr(stages, "run_config", stopped_before)
    with pytest.raises(RunStopped):
        staged.run()
    assert state(staged.work_dir, "first") == "preempted"
    assert not list(staged.work_dir.glob("first/epoch_*"))


def test_finished_stages_are_recognised(whole: Staged) -> None:
    before = written(whole.work_dir)
    again = whole.run()
    assert written(whole.work_dir) == before
    assert again.directory == whole.work_dir
    assert set(again.result["stages"]) == set(NAMES)
    assert again.result["test"] == again.result["stages"]["third"]["test"]
    assert again.result["validation"] == again.result["stages"]["second"]["validation"]
