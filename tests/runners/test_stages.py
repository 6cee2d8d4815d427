"""Several stages in one file: run, resumed, refused and checked as single runs are, by the same command."""

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runners import stages
from runners.errors import RunDirectoryError, RunStopped
from runners.launch import Options, Outcome
from tests.runners.conftest import ENVIRONMENT, REPOSITORY
from tests.runners.test_interrupted import numbers

# Stage 2 has a criterion that sends its process a signal, or raises, where the environment says so.
FILE = """
import os, signal
from tests.runners.toy import *
from runners import SupervisedSingleTaskEvaluator, evaluation_of

class Ending(ToyCriterion):
    def forward(self, logits, target):
        self.calls += 1
        if str(self.calls) == os.environ.get("END_AT_CALL"):
            if os.environ["END_BY"] == "raise":
                raise RuntimeError("the criterion broke")
            os.kill(os.getpid(), signal.Signals[os.environ["END_BY"]])
        return nn.functional.cross_entropy(logits, target)

first = toy_config("nowhere", epochs=2)
second = toy_config("nowhere", criterion={{"class": Ending, "args": {{}}}}, seed=6)
second["runner"]["args"]["initial_checkpoint"] = "stage:first"
config = {{
    "work_dir": {work_dir!r},
    "stages": {{
        "first": first,
        "second": second,
        "third": evaluation_of(second, SupervisedSingleTaskEvaluator, checkpoint="stage:second"),
    }},
}}
"""
NAMES = ("first", "second", "third")


@dataclass(frozen=True)
class Staged:
    """A file with three stages in `folder`."""

    folder: Path

    @property
    def work_dir(self) -> Path:
        return self.folder / "all"

    @property
    def path(self) -> Path:
        path = self.folder / "staged.py"
        if not path.exists():
            path.write_text(FILE.format(work_dir=str(self.work_dir)))
        return path

    def run(self, path: Path | None = None, **options: Any) -> Outcome:
        console = Console(file=io.StringIO())
        return stages.run_stages_or_file(path or self.path, Options(device="cpu", **options), console)

    def launch(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "main.py", "--config-filepath", str(self.path), "--device", "cpu"]
        return subprocess.run(
            [*command, *arguments], cwd=REPOSITORY, env={**ENVIRONMENT, **environment}, capture_output=True,
            text=True, timeout=110, check=False,
        )  # fmt: skip


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    (tmp_path / "staged").mkdir()
    return Staged(tmp_path / "staged")


@pytest.fixture
def whole(tmp_path: Path) -> Staged:
    """Run without an interruption."""
    (tmp_path / "whole").mkdir()
    whole = Staged(tmp_path / "whole")
    whole.run()
    return whole


def everything(root: Path) -> dict[str, Any]:
    """What the stages compute, times and places left out."""
    found = {name: numbers(root / name) for name in ("first", "second")}
    third = json.loads((root / "third" / "test" / "test_results.json").read_text())
    return {**found, "third": {key: third[key] for key in ("aggregated", "per_datapoint")}}


def written(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.suffix in {".pt", ".json"}}


def log(root: Path, name: str) -> str:
    return (root / name / "train.log").read_text()


def state(root: Path, name: str) -> str:
    content: dict[str, str] = json.loads((root / name / "state.json").read_text())
    return content["state"]


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
    assert "going on after 1 finished epochs" in log(root, "second")
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
        whole.run(overrides=("stages.second.epochs=4",))


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
        stages.load_config(path), path, Options(overrides=("stages.first.scheduler=null",))
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
    with pytest.raises(RunDirectoryError, match=r"first/checkpoint_best\.pt is no file.*beside.*give a path"):
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
