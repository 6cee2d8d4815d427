"""The command line's options, and what is checked, with several stages in one file."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pylon.runners.config import load_config
from pylon.runners.errors import RunDirectoryError
from pylon.runners.launch import stages
from pylon.runners.launch.run import Options, Outcome
from tests.runners.conftest import ENVIRONMENT, REPOSITORY
from tests.runners.run_directory.test_interrupted import numbers
from tests.runners.staged import NAMES, Staged, everything, log, make_staged, state, written

pytestmark = pytest.mark.ci


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    return make_staged(tmp_path / "staged")


@pytest.fixture
def whole(tmp_path: Path) -> Staged:
    return make_staged(tmp_path / "whole", run=True)


def test_changed_configuration_of_a_finished_stage_is_refused_by_name(whole: Staged) -> None:
    before = written(whole.work_dir)
    ended = whole.launch("--set", "stages.first.optimizer.args.lr=0.2")
    assert ended.returncode == 4
    for word in (
        str(whole.work_dir / "first"),
        "optimizer.args.lr: was 0.1, now 0.2",
        "stage 'first', 1 of 3",
    ):
        assert word in ended.stderr
    assert "Traceback" not in ended.stderr
    assert written(whole.work_dir) == before


def test_changed_configuration_of_a_later_stage_leaves_the_earlier_one(whole: Staged) -> None:
    with pytest.raises(RunDirectoryError, match=r"second: holds a run of another configuration"):
        whole.run(overrides=("stages.second.optimizer.args.lr=0.5",))


def test_values_set_reach_their_stage_alone(staged: Staged) -> None:
    staged.run(
        overrides=("stages.first.epochs=1", "stages.second.optimizer.args.lr=0.5", "stages.second.epochs=1")
    )
    first, second = (
        json.loads((staged.work_dir / name / "config.json").read_text()) for name in ("first", "second")
    )
    assert (first["epochs"], first["optimizer"]["args"]["lr"]) == (1, 0.1)
    assert (second["epochs"], second["optimizer"]["args"]["lr"]) == (1, 0.5)


def test_key_that_a_stage_leaves_out_can_be_set(staged: Staged) -> None:
    path = staged.path
    path.write_text(path.read_text() + "del config['stages']['first']['scheduler']\n")
    prepared = stages.prepared_stages(
        load_config(path), path, Options(overrides=("stages.first.scheduler=null",))
    )
    assert prepared["first"]["scheduler"] is None


WRONG = [
    (["epochs=3"], ["epochs is 3", "stages.NAME.epochs"]),
    (["stages.first.epochs=0", "stages.third.metric.args.num_class=2"],
     ["2 problems", "stages.first.epochs is 0", "stages.third.metric.args.num_class", "mean 'num_classes'"]),
    (["stages.frist.epochs=1"], ["did you mean 'first'"]),
    (["stages.first.work_dir=x"], ["stages.first.work_dir is 'x'", "remove it"]),
    (["work_dir=.."], ["1 problem\n", "  work_dir is '..'"]),
    (["stages.second.runner.args.initial_checkpoint=stage:frist"],
     ["stages.second.runner.args.initial_checkpoint is 'stage:frist'", "of: stage:first"]),
    (["stages.second.runner.args.initial_checkpoint=stage:third"], ["an earlier stage"]),
    (["stages.first.runner.args.initial_checkpoint=stage:first"], ["there is no stage before it"]),
    (["stages={}"], ["stages is {}"]),
    (["stages=[1]"], ["stages is [1]"]),
    (["stages.first=1"], ["stages.first is 1"]),
    (['stages={"a b": {}}'], ["stages is 'a b'", "letters, digits"]),
    (["stages.second.runner.args.checkpointing="
      "{'class': 'pylon.runners:Checkpointing', 'args': {'every_steps': 0}}",
      "stages.second.runner.args.score=f1",
      "stages.second.optimizer.args.lr=-1", "stages.third.test_dataset.args.split=validation"],
     ["4 problems", "stages.second.runner.args.checkpointing.args.every_steps is 0: expected more than 0",
      "stages.second.runner.args.score is 'f1'", "stages.second.optimizer is 'SGD'", "learning rate: -1",
      "stages.third.test_dataset.args.split is 'validation'", "of ToyDataset: train, val, test"]),
    (["stages.first.epochs=0", "stages.third.metric.args.num_classes=1"],
     ["2 problems", "stages.first.epochs is 0", "stages.third.metric.args.num_classes is 1: expected 2"]),
    (['stages.first.stages={"a": {}}'], ["stages.first.stages", "does not take it"]),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "words"), WRONG)
def test_every_problem_of_every_stage_is_told_before_anything_starts(
    staged: Staged, overrides: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from main import main

    assert main(["--config-filepath", str(staged.path), "--set", *overrides]) == 2
    said = capsys.readouterr()
    for word in words:
        assert word in said.err, said.err
    assert not staged.work_dir.exists()


def test_weights_of_an_evaluation_are_refused(staged: Staged, capsys: pytest.CaptureFixture[str]) -> None:
    from main import main

    path = staged.path
    path.write_text(path.read_text() + "config['stages']['fourth'] = dict(second)\n")
    wrong = "stages.fourth.runner.args.initial_checkpoint=stage:third"
    assert main(["--config-filepath", str(path), "--set", wrong]) == 2
    assert "third trains nothing" in capsys.readouterr().err


def test_debug_is_short_and_beside_the_real_stages(whole: Staged) -> None:
    before = written(whole.work_dir)
    for _ in range(2):
        outcome = whole.run(debug=True, overrides=("stages.second.epochs=50",))
    assert outcome.directory == whole.folder / "all.debug"
    assert len(json.loads((outcome.directory / "second" / "history.json").read_text())) == 3
    best = (outcome.directory / "first" / "checkpoint_best.pt").resolve()
    assert f"starting with the weights of {best}" in log(outcome.directory, "second")
    assert written(whole.work_dir) == before


def test_work_dir_is_the_directory_of_all(staged: Staged, whole: Staged) -> None:
    outcome = staged.run(work_dir=staged.folder / "elsewhere")
    assert outcome.directory == staged.folder / "elsewhere"
    assert not staged.work_dir.exists()
    assert everything(outcome.directory) == everything(whole.work_dir)


def test_fresh_starts_all_over_beside_and_a_plain_command_goes_on_with_it(whole: Staged) -> None:
    before = written(whole.work_dir)
    ended = whole.launch("--fresh", END_AT_CALL="5", END_BY="SIGKILL")
    assert ended.returncode == -9
    fresh = whole.folder / "all-fresh-1"
    assert state(fresh, "second") == "running"
    assert whole.run().directory == fresh
    assert "this run is finished" in log(fresh, "first")
    assert everything(fresh) == everything(whole.work_dir)
    assert {path: when for path, when in written(whole.work_dir).items() if path in before} == before
    assert json.loads((fresh / "first" / "config.json").read_text())["work_dir"] == str(fresh / "first")


def test_all_stages_stay_in_the_directory_that_the_first_one_chose(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stages.run_config

    def beside_another(*arguments: Any) -> Outcome:
        outcome = run(*arguments)
        (staged.folder / "all-fresh-1").mkdir(exist_ok=True)  # somebody starts over beside it meanwhile
        return outcome

    monkeypatch.setattr(stages, "run_config", beside_another)
    staged.run()
    assert sorted(path.name for path in staged.work_dir.iterdir()) == sorted(NAMES)
    assert not list((staged.folder / "all-fresh-1").iterdir())


def test_resolved_configuration_of_a_stage_runs_again(whole: Staged) -> None:
    resolved = whole.work_dir / "second" / "config.json"
    assert "this run is finished" not in log(whole.work_dir, "second")
    whole.run(resolved)
    assert "this run is finished" in log(whole.work_dir, "second")
    fresh = whole.run(resolved, fresh=True)
    assert fresh.directory == whole.work_dir / "second-fresh-1"
    assert numbers(fresh.directory) == numbers(whole.work_dir / "second")
    elsewhere = whole.run(resolved, work_dir=whole.folder / "other" / "place")
    assert numbers(elsewhere.directory) == numbers(whole.work_dir / "second")
    tested = whole.run(whole.work_dir / "third" / "config.json", work_dir=whole.folder / "tested")
    assert tested.result == whole.run().result["stages"]["third"]


def test_stage_run_alone_without_the_one_before_it_says_what_is_missing(
    whole: Staged, tmp_path: Path
) -> None:
    config = json.loads((whole.work_dir / "second" / "config.json").read_text())
    config["work_dir"] = str(tmp_path / "alone" / "second")
    path = tmp_path / "second.json"
    path.write_text(json.dumps(config))
    with pytest.raises(RunDirectoryError, match=r"first/checkpoint_best\.pt is no file.*next to.*a path"):
        whole.run(path)


def test_another_checkpoint_of_an_earlier_stage_can_be_named(whole: Staged) -> None:
    latest = "stages.second.runner.args.initial_checkpoint=stage:first/checkpoint_latest.pt"
    outcome = whole.run(work_dir=whole.folder / "latest", overrides=(latest,))
    used = (outcome.directory / "first" / "checkpoint_latest.pt").resolve()
    assert f"starting with the weights of {used}" in log(outcome.directory, "second")


def test_files_with_stages_run_among_others(whole: Staged, tmp_path: Path) -> None:
    command = [sys.executable, "main.py", "--config-filepath", str(whole.path), str(tmp_path / "absent.py")]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env={**ENVIRONMENT, "COLUMNS": "250"}, capture_output=True, text=True,
        timeout=110, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    (row,) = [line for line in ended.stdout.splitlines() if "staged.py" in line and "finished" in line]
    assert row.count("f1_changed") == 2
    assert str(whole.work_dir) in row
